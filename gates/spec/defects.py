"""Defects: small edits of the system under test that a gate must notice."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from chaos.errors import Severity
from chaos.spec.loader import closest
from chaos.spec.target import Target
from gates.spec.edits import StaleError, edited, encoded, is_source, text_of
from gates.spec.gate import Defect, Gate


class Complaint(Struct, frozen=True):
    """Something wrong with a gate's defects: its place in the gate, and what was probably meant."""

    place: tuple[str | int, ...]
    message: str
    hint: str | None = None
    severity: Severity = "error"


def defect_problems(gate: Gate, target: Target, root: Path) -> Iterator[Complaint]:
    """Everything wrong with a gate's defects.

    One that edits what the target does not declare as its source, or changes nothing, is an error. One under
    which the source has moved on is a warning: it proves nothing, but the gate can be run.
    """
    known = {assertion.that: assertion for assertion in gate.assert_}
    for index, defect in enumerate(gate.falsified_by):
        place: tuple[str | int, ...] = ("falsified_by", index)
        for key, names in (("fails", defect.fails), ("may_fail", defect.may_fail)):
            for number, name in enumerate(names):
                if name not in known:
                    yield Complaint(
                        (*place, key, number),
                        f"no assertion is called {name!r}",
                        closest(name, known),
                    )
        if not defect.fails:
            yield Complaint((*place, "fails"), "a defect must fail at least one assertion")
        problem = _edit_problem(defect, target, root, place)
        if problem is not None:
            yield problem


def _edit_problem(
    defect: Defect, target: Target, root: Path, place: tuple[str | int, ...]
) -> Complaint | None:
    """Why the edit cannot be made as written, or None."""
    if not is_source(root / defect.file, target.source, root):
        sources = ", ".join(target.source) or "it has none"
        message = f"{defect.file} is not below the target's source ({sources})"
        return Complaint((*place, "file"), message)
    if defect.replace == defect.with_:
        return Complaint((*place, "with"), "the edit changes nothing")
    if defect.in_ is not None and Path(defect.file).suffix != ".py":
        message = f"definitions are looked for in Python only, and {defect.file} is none"
        return Complaint((*place, "in"), message)
    try:
        text, encoding = text_of(defect, root)
        encoded(defect, edited(defect, text), encoding)
    except StaleError as stale:
        return Complaint((*place, stale.key), stale.message, stale.hint, "warning")
    return None
