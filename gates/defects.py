"""Defects: small edits of the system under test that a gate must notice."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from chaos.spec.loader import closest
from chaos.spec.target import Target
from gates.spec.gate import Defect, Gate

Complaint: TypeAlias = tuple[tuple[str | int, ...], str, str | None]


def defect_problems(gate: Gate, target: Target, root: Path) -> Iterator[Complaint]:
    """(place, message, hint) of everything wrong with a gate's defects.

    A defect may only edit what the target declares as its source, and its text must occur exactly once:
    otherwise it is stale.
    """
    known = {assertion.that: assertion for assertion in gate.assert_}
    for index, defect in enumerate(gate.falsified_by):
        place: tuple[str | int, ...] = ("falsified_by", index)
        for key, names in (("fails", defect.fails), ("may_fail", defect.may_fail)):
            for number, name in enumerate(names):
                if name not in known:
                    yield (
                        (*place, key, number),
                        f"no assertion is called {name!r}",
                        closest(name, known),
                    )
        if not defect.fails:
            yield (*place, "fails"), "a defect must fail at least one assertion", None
        problem = edit_problem(defect, target, root)
        if problem is not None:
            yield (*place, problem[0]), problem[1], None


def edit_problem(defect: Defect, target: Target, root: Path) -> tuple[str, str] | None:
    """(key, message) when the edit cannot be made as written, or None."""
    if not any(Path(defect.file).is_relative_to(source) for source in target.source):
        return (
            "file",
            f"{defect.file} is not below the target's source ({', '.join(target.source) or 'it has none'})",
        )
    path = root / defect.file
    if not path.is_file():
        return "file", f"there is no file {defect.file}"
    occurrences = path.read_text(encoding="utf-8").count(defect.replace)
    if occurrences != 1:
        return (
            "replace",
            f"the text occurs {occurrences} times in {defect.file}; it must occur exactly once",
        )
    if defect.replace == defect.with_:
        return "with", "the edit changes nothing"
    return None
