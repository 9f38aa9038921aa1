"""Whether a gate is a page about one claim: its length, what it copies, and the code that it says implements it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chaos import regular
from chaos.spec.document import Path as Place
from chaos.spec.loader import closest
from chaos.spec.step import Expect
from chaos.spec.target import Target
from gates.judge.golden import LONG
from gates.judge.lint import Complaint
from gates.judge.style import COPIED, TOO_LONG
from gates.lint.steps import Located
from gates.spec.edits import is_source
from gates.spec.gate import Gate
from gates.spec.guards import definitions, modules

MOST_LINES = 250


def length_problems(lines: int) -> Iterator[Complaint]:
    """A gate that is longer than anybody reads."""
    if lines > MOST_LINES:
        message = (
            f"this gate has {lines} lines, more than {MOST_LINES}: leave to tests what its claim does not need,"
            " or make two gates of two claims"
        )
        yield Complaint(("gate",), message, severity="warning")


def data_problems(gate: Gate) -> Iterator[Complaint]:
    """Long literals in `data`, each at its place."""
    for place, text in _texts(gate.data, ("data",)):
        if len(text) > LONG:
            yield Complaint(place, TOO_LONG.format(length=len(text)), severity="warning")


def expect_problems(gate: Gate, steps: Sequence[Located]) -> Iterator[Complaint]:
    """Steps that expect a whole page as text."""
    if gate.golden:
        return
    for path, step in steps:
        for field, value in _whole_answers(step.expect) if step.expect else ():
            if isinstance(value, str) and len(value) > LONG:
                yield Complaint((*path, "expect", field), COPIED)


def guards_problems(gate: Gate, target: Target, root: Path, *, listed: bool) -> Iterator[Complaint]:
    """What `guards` names must be code of the target; a gate that is `listed` in the release names it."""
    for index, name in enumerate(gate.guards):
        for problem, hint in _guard_problems(name, target, root):
            yield Complaint(("guards", index), problem, hint)
    if listed and not gate.guards and modules(target.source, root):
        message = (
            "`guards` is missing: name the files and folders of the target's source that implement the claim,"
            " where `nox -s mutants` draws"
        )
        yield Complaint(("gate",), message, severity="warning")


def _guard_problems(guard: str, target: Target, root: Path) -> Iterator[tuple[str, str | None]]:
    """What is wrong with a file, a folder or a `FILE:DEFINITION`, and what was probably meant."""
    name, colon, definition = guard.partition(":")
    path = root / name
    if not is_source(path, target.source, root):
        below = ", ".join(target.source) or "it has none"
        yield f"{name} is not below the target's source ({below})", None
    elif not regular.exists(path):
        yield f"there is no file or folder {name}", None
    elif colon:
        names = {each for module in modules([name], root) for each in definitions(root / module)}
        if definition not in names:
            yield f"{name} defines no {definition}", closest(definition, names)


def _whole_answers(expect: Expect) -> Iterator[tuple[str, object]]:
    """Fields of an `expect` that may be all of an answer."""
    yield from (("text", expect.text), ("json", expect.json))
    yield from (("output", expect.output), ("errors", expect.errors))


def _texts(value: object, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*place, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*place, index))
