"""What mutants are drawn from: the modules that a killer answers for, and which of their lines it executes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError
from gates.mutants.evaluate import Finding
from gates.mutants.mutations import Mutation, mutations_of
from gates.spec.sources import decoded


class Drawn(Struct, frozen=True, kw_only=True):
    """A killer, `possible` mutations of the modules that it answers for, and those of them that it executes."""

    killer: str
    possible: list[Mutation]
    reached: list[Mutation]

    @property
    def unreached(self) -> list[Mutation]:
        """Those on lines that it does not execute."""
        reached = {(each.file, each.changes) for each in self.reached}
        return [each for each in self.possible if (each.file, each.changes) not in reached]


class Killers(Protocol):
    """The gates, each by itself, or the tests."""

    least: float
    """The share of the viable mutants that each of them is asked to kill."""
    enough: int
    """How many mutants of each are drawn when nobody says."""

    def drawn(self) -> list[Drawn]:
        """What may be drawn, for each killer; runs them as they are. HarnessError says why there is nothing."""

    def attacks(self, chosen: Sequence[tuple[str, Mutation]]) -> list[Finding]:
        """Run mutants against their killers; what is found is in the same order."""


class Modules:
    """The mutations of a project's modules, found once for each."""

    def __init__(self, root: Path, only: Sequence[Path]) -> None:
        self._root = root
        self._only = frozenset(str(path) for path in only)
        self._found: dict[str, list[Mutation]] = {}

    def mutations(self, files: Iterable[str]) -> list[Mutation]:
        """Those of these modules, by file and place; only of the modules that were asked for, if any were."""
        return [each for file in sorted(files) if self._wanted(file) for each in self._of(file)]

    @property
    def files(self) -> frozenset[str]:
        """The modules that were looked at."""
        return frozenset(self._found)

    def all(self) -> list[Mutation]:
        """All that were found so far. HarnessError names a module that was asked for and has none."""
        for name in sorted(self._only - self.files):
            raise HarnessError(
                f"nothing is drawn in {name!r}: no such module is the business of whom was asked"
            )
        return [each for file in sorted(self._found) for each in self._found[file]]

    def _wanted(self, file: str) -> bool:
        return not self._only or file in self._only

    def _of(self, file: str) -> list[Mutation]:
        if file not in self._found:
            # Line ends are kept as they are: offsets count bytes.
            self._found[file] = mutations_of(file, decoded(regular.read(self._root / file))[0])
        return self._found[file]


def executed(mutation: Mutation, lines: Mapping[str, Sequence[int]]) -> bool:
    """Whether any of the lines that stand for its place is among these."""
    return not set(mutation.touches).isdisjoint(lines.get(mutation.file, ()))
