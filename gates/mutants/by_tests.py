"""The tests as killer: they are asked about mutants of all code that no gate guards.

Which tests execute which lines is watched once for each file of tests. A mutant is run against those that execute its
place only: first those of the file of tests that is called like the module, then the quickest that are most about it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError
from gates.mutants.asking import Asking
from gates.mutants.drawing import Drawn, Modules, executed
from gates.mutants.evaluate import Finding
from gates.mutants.mutations import Mutation
from gates.mutants.suite_runs import LIMIT_FACTOR, LIMIT_S, Attack, Watching, prepared
from gates.mutants.watched import Execution, Watched
from gates.run.session import sources_of
from gates.run.store import Place, key_of
from gates.spec.guards import guarded, modules
from gates.spec.project import Project
from gates.spec.sources import decoded

KILLER = "tests"
MOST = 0.5
"""At most this part of the time of all tests is spent on a mutant: by seconds alone a busy machine would find less."""
_LEAST_S = 0.1
"""No test is so quick that another should not be before it."""


class Selected(Struct, frozen=True):
    """Tests in the order in which they are run, and how long they take without a mutant."""

    ids: list[str]
    seconds: float


class ByTests:
    """All tests below some folders; of each folder of source those in the folder of `tests` that is called so."""

    least = 0.8
    enough = 200

    def __init__(
        self, asking: Asking, project: Project, modules: Modules, folders: Sequence[Path]
    ) -> None:
        self._asking, self._project, self._modules = asking, project, modules
        self._root = project.root
        self._sources = sources_of(project)
        self._files = files_below(
            self._root, folders or [Path("tests", each) for each in self._sources]
        )
        self._watched: dict[str, Watched] = {}

    def drawn(self) -> list[Drawn]:
        """The mutations of what no gate guards; all tests are run to see which lines they execute."""
        names = [name for gate in self._project.gates.values() for name in gate.guards]
        guards = guarded(names, self._root)
        rest = [name for name in modules(self._sources, self._root) if guards.leaves(name)]
        possible = [
            each
            for each in self._modules.mutations(rest)
            if not guards.covers(each.file, each.line)
        ]
        self._watch()
        reached = [each for each in possible if candidates(each, self._watched.values())]
        return [Drawn(killer=KILLER, possible=possible, reached=reached)]

    def attacks(self, chosen: Sequence[tuple[str, Mutation]]) -> list[Finding]:
        """Run the tests that execute the place of each mutant."""
        with prepared(self._root, self._sources) as copy:
            return self._asking.ask([self._attack(mutation, copy) for _, mutation in chosen])

    def _watch(self) -> None:
        with prepared(self._root, self._sources) as copy:
            found = self._asking.ask(
                [
                    Watching(
                        label=f"{file} as it is",
                        place=self._place([file], "watched"),
                        root=copy,
                        file=file,
                        sources=self._sources,
                    )
                    for file in self._files
                ]
            )
        self._watched = dict(zip(self._files, found, strict=True))
        if not any(each.tests for each in found):
            raise HarnessError("no test passes, so nothing would notice a mutant")

    def _attack(self, mutation: Mutation, copy: Path) -> Attack:
        tests = selected(
            mutation.file,
            candidates(mutation, self._watched.values()),
            {file: each.shared_s for file, each in self._watched.items()},
            MOST * self._all_s(),
        )
        change = {"file": mutation.file, "changes": msgspec.to_builtins(mutation.changes)}
        return Attack(
            label=f"{KILLER} {mutation.where}",
            place=self._place(sorted({file_of(each) for each in tests.ids}), [change, tests.ids]),
            root=copy,
            mutation=mutation,
            tests=tests.ids,
            within_s=LIMIT_S + LIMIT_FACTOR * tests.seconds,
        )

    def _all_s(self) -> float:
        """How long all tests took while they were watched."""
        return sum(
            each.shared_s + sum(test.seconds for test in each.tests)
            for each in self._watched.values()
        )

    def _place(self, files: Iterable[str], what: object) -> Place:
        """Where a result of some files of tests is kept: by a digest of all that it depends on."""
        parts = {
            "inputs": self._asking.session.inputs,
            "shared": shared_digest(self._root, self._files),
            "files": {
                file: hashlib.sha256(regular.read(self._root / file)).hexdigest() for file in files
            },
            "what": what,
        }
        return self._asking.place(key_of(KILLER, parts))


def files_below(root: Path, folders: Sequence[Path]) -> list[str]:
    """Files of tests, from the root. HarnessError names a folder without any."""
    found: set[str] = set()
    for folder in folders:
        path = root / folder
        files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise HarnessError(f"there are no tests in {str(folder)!r}; name them behind --tests")
        found |= {str(each.relative_to(root)) for each in files}
    return sorted(found)


def candidates(mutation: Mutation, watched: Iterable[Watched]) -> list[Execution]:
    """The tests that execute the place of a mutation.

    What is executed when a module is imported is executed by no test in particular: then it is also those tests of a
    file that imports it which execute anything of the module, or all of them where none does or the file is called like
    the module.
    """
    return [test for each in watched for test in each.tests if _concerns(mutation, test, each)]


def _concerns(mutation: Mutation, test: Execution, of: Watched) -> bool:
    if executed(mutation, test.lines):
        return True
    if not executed(mutation, of.imported):
        return False
    return (
        mutation.file in test.lines
        or is_own(test, mutation.file)
        or not any(mutation.file in each.lines for each in of.tests)
    )


def selected(
    module: str, tests: Iterable[Execution], shared_s: Mapping[str, float], most_s: float
) -> Selected:
    """The quickest that are most about the module first, up to `most_s` seconds; those of one file stay together.

    How much a test is about the module is the part of its lines that are there; those of the file of tests
    that is called like it come before all others. `shared_s` is what the tests of a file need together, once.
    """

    def order(test: Execution) -> tuple[bool, float, str]:
        lines = sum(map(len, test.lines.values())) or 1
        there = len(test.lines.get(module, ())) or 1
        return not is_own(test, module), (_LEAST_S + test.seconds) * lines / there, test.id

    files: dict[str, list[str]] = {}
    total = 0.0
    for test in sorted(tests, key=order):
        file = file_of(test.id)
        seconds = test.seconds + (0.0 if file in files else shared_s.get(file, 0.0))
        if files and total + seconds > most_s:
            continue
        files.setdefault(file, []).append(test.id)
        total += seconds
    return Selected([name for ids in files.values() for name in ids], total)


def is_own(test: Execution, module: str) -> bool:
    """Whether a test stands in a file that is called like a module."""
    return Path(file_of(test.id)).stem == f"test_{Path(module).stem}"


def file_of(test: str) -> str:
    """The file of a test, by its id."""
    return test.partition("::")[0]


def shared_digest(root: Path, files: Sequence[str]) -> str:
    """SHA-256 in hex over what tests share: everything beside them that is no file of tests."""
    tops = sorted({Path(file).parts[0] for file in files})
    own = {root / file for file in files}
    digest = hashlib.sha256()
    for top in tops:
        for path in sorted((root / top).rglob("*.py")):
            if path not in own and not path.name.startswith("test_"):
                digest.update(f"{path.relative_to(root)} {decoded(regular.read(path))[0]}".encode())
    return digest.hexdigest()
