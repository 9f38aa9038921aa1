"""Questions about incidents: files of SQL, one SELECT each, whose first line is a comment that asks in words.

What a question reads says what it needs: one about `base_…` tables compares two bundles. Whoever has a question of
their own puts a file beside these, or into a directory that is named with `--sql`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import duckdb
from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError, Problem, SpecError, told
from gates.incidents.tables import BASE, VIEWS
from gates.judge import syntax
from gates.judge.problem import suggestion

OWN: Final = Path(__file__).parent / "sql"
LARGEST_BYTES: Final = 2**20


class Question(Struct, frozen=True):
    """One question: what it `asks`, its SQL, and which `tables` that reads."""

    name: str
    asks: str
    sql: str
    path: Path
    tables: frozenset[str]

    @property
    def compares(self) -> bool:
        """Whether it needs two bundles."""
        return any(table.startswith(BASE) for table in self.tables)

    def problem(self, message: str, offset: int | None) -> Problem:
        """What is wrong with it, `offset` bytes into its SQL."""
        return _problem(self.path, self.sql, message, offset)


def read_questions(directories: Iterable[Path] = ()) -> dict[str, Question]:
    """All questions by name, ours and those of `directories`, of which the last counts where two have one name.

    Raises SpecError with every problem there is, HarnessError where a directory cannot be read.
    """
    texts: dict[str, tuple[Path, str]] = {}
    for directory in (OWN, *directories):
        texts.update(_texts(directory))
    problems: list[Problem] = []
    questions: dict[str, Question] = {}
    trees = _parsed([sql for _, sql in texts.values()])
    for (name, (path, sql)), tree in zip(texts.items(), trees, strict=True):
        asks = sql.partition("\n")[0].strip()
        if not asks.startswith("-- "):
            message = (
                "the first line says in words what is asked: `-- Which requests were the slowest?`"
            )
            problems.append(_problem(path, sql, message, 0))
        if isinstance(tree, syntax.SyntaxProblem):
            problems.append(_problem(path, sql, tree.message, tree.offset))
        else:
            tables = frozenset(_tables(tree)) & VIEWS.keys()
            questions[name] = Question(name, asks.removeprefix("-- "), sql, path, tables)
    if problems:
        raise SpecError(problems)
    return dict(sorted(questions.items()))


def chosen(
    questions: Mapping[str, Question], names: Iterable[str], *, compares: bool
) -> list[Question]:
    """The questions of these names, or all that compare, or do not; raises HarnessError for what is none."""
    fitting = {name: one for name, one in questions.items() if compares or not one.compares}
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in fitting:
            if name in questions:
                raise HarnessError(
                    f"{name} compares two bundles: `python -m gates incident diff BASE BUNDLE --only {name}`"
                )
            known = frozenset(fitting)
            raise HarnessError(
                f"there is no question {name!r}{suggestion(name, known)}; there are {', '.join(sorted(known))}"
            )
    return (
        [fitting[name] for name in wanted]
        if wanted
        else [one for one in fitting.values() if one.compares == compares]
    )


def _texts(directory: Path) -> dict[str, tuple[Path, str]]:
    """The files of SQL right in a directory, by what they are called."""
    if not directory.is_dir():
        raise HarnessError(f"{directory} is no directory of questions, which are files NAME.sql")
    found: dict[str, tuple[Path, str]] = {}
    for path in sorted(directory.glob("*.sql")):
        if not path.is_file():
            continue
        try:
            found[path.stem] = path, regular.read(path, LARGEST_BYTES).decode()
        except regular.TooLargeError:
            raise HarnessError(
                f"{path} is longer than {LARGEST_BYTES:,} bytes, which no question is"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise HarnessError(f"{path} cannot be read: {told(error, path)}") from None
    return found


def _parsed(texts: list[str]) -> list[syntax.Tree | syntax.SyntaxProblem]:
    with duckdb.connect(":memory:") as connection:
        return syntax.parse(connection, texts)


def _tables(tree: syntax.Tree) -> Iterable[str]:
    for node in syntax.walk(tree.node):
        if node.get("type") == "BASE_TABLE" and not syntax.text_of(node, "schema_name"):
            yield syntax.text_of(node, "table_name").lower()


def _problem(path: Path, sql: str, message: str, offset: int | None) -> Problem:
    before = sql.encode()[: offset or 0].decode(errors="ignore")
    line = before.count("\n")
    lines = sql.split("\n")
    return Problem(
        str(path), line + 1, len(before) - before.rfind("\n"), message, lines[line] if lines else ""
    )
