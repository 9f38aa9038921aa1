"""Specs that differ from one that is right in a few lines: a file of patches for each group of cases.

A group's first line names the file of the project that its cases stand for. A case is a line that gives its
name and what comes of it, and one or more hunks:

    == at-least-zero: exit 3: at_least must be 1 or more
    -    at_least: 10
    +    at_least: 0

Lines of a hunk that begin with a space stay, and `@@` lies between two hunks. What a hunk finds in the spec,
its lines with a space or a minus, must be there once. A case with nothing but plus lines is a whole file.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tests.builders.small_project import FILES

CASES = Path(__file__).parent / "cases"
GATE = "specs/gates/a/first.yaml"
BASES = {**FILES, GATE: (CASES / "first.yaml").read_text(encoding="utf-8")}
_GROUP = re.compile(r"# stands for (\S+)\n")
_CASE = re.compile(r"^== ([a-z0-9-]+): (exit 3|UNKNOWN|FAIL): (.+)\n", re.MULTILINE)


class Case(Struct, frozen=True):
    """One spec: what comes of it, what is said, and the file of the project that it stands for."""

    name: str
    outcome: str
    said: str
    stands_for: str
    text: str


def read_cases(path: Path) -> Iterator[Case]:
    """All cases of one group, named `group/case`."""
    text = path.read_bytes().decode()
    group = _GROUP.match(text)
    assert group, f"{path} does not say what its cases stand for"
    before, *parts = _CASE.split(text[group.end() :])
    assert not before.strip(), f"{path}: {before!r} belongs to no case"
    for name, outcome, said, patch in zip(*[iter(parts)] * 4, strict=True):
        full = f"{path.stem}/{name}"
        yield Case(full, outcome, said, group[1], patched(BASES[group[1]], patch, full))


def patched(base: str, patch: str, name: str) -> str:
    """The text with all hunks of a patch applied. AssertionError when one does not fit once."""
    if re.fullmatch(r"(\+.*\n|\n)+", patch):
        return "".join(f"{line[1:]}\n" for line in patch.split("\n") if line)
    lines = base.split("\n")
    changes: list[tuple[int, int, list[str]]] = []
    for hunk in re.split(r"^@@\n", patch.removesuffix("\n"), flags=re.MULTILINE):
        given = [line for line in hunk.split("\n") if line]
        kinds = {line[0] for line in given}
        assert kinds & {"-", "+"}, f"{name} changes nothing"
        assert kinds <= {" ", "-", "+"}, f"{name} has a line of no hunk"
        old = [line[1:] for line in given if line[0] != "+"]
        new = [line[1:] for line in given if line[0] != "-"]
        places = [at for at in range(len(lines)) if lines[at : at + len(old)] == old]
        assert old and len(places) == 1, f"{name}: {old} is there {len(places)} times"
        changes.append((places[0], places[0] + len(old), new))
    for start, end, new in sorted(changes, reverse=True):
        lines[start:end] = new
    return "\n".join(lines)


ALL = [case for path in sorted(CASES.glob("*.patches")) for case in read_cases(path)]
BY_NAME = {case.name: case for case in ALL}
