"""Whether every variable that is used is set by then, and whether it is filled in where it is used."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from chaos.engine.plan import children, walk
from chaos.spec.document import Document, Path
from chaos.spec.kind import Noun
from chaos.spec.loader import closest
from chaos.spec.step import Step
from chaos.spec.variables import Placeholder, placeholders, uses, whole_placeholder
from chaos.steps import KINDS
from gates.spec.mapping import inner_lists
from gates.spec.resolve import captured

Values: TypeAlias = Sequence[object] | None
"""What a variable may hold, where that stands in the spec; None where only a run knows."""

Known: TypeAlias = Mapping[str, Values]


TAKEN: tuple[Noun, ...] = ("link", "fault", "load")
"""Sorts of names that are taken as they are written."""


class VariablesLint:
    """Follows steps in the order in which they run; all complaints go to their document."""

    def __init__(self, document: Document, data: Mapping[str, Sequence[object]]) -> None:
        self.document = document
        self.data = {f"data.{name}": rows for name, rows in data.items()}
        self.sometime: set[str] = set()
        self.taken: set[str] = set()

    def run(self, lists: Sequence[tuple[Path, list[Step]]], known: Iterable[str]) -> None:
        """The lists are walked one after the other; `known` is set before the first step."""
        for _, steps in lists:
            for _, step in walk(tuple(steps), ""):
                self.sometime |= step.capture.keys()
        first = dict.fromkeys(known)
        here: Known = {**first, **{name: [rows] for name, rows in self.data.items()}}
        for path, steps in lists:
            here = self._list(steps, path, here)
        self._rows(first)

    def _rows(self, first: Known) -> None:
        """A route's `{id}` may stand in a fixed table that steps use; what looks like a secret or a port was meant to be filled in."""
        for table in sorted(self.taken):
            for found in uses(self.data[table], tuple(table.split(".", 1))):
                if found.name in first or ("." in found.name and found.name in self.sometime):
                    message = f"nothing is filled into fixed tables: {{{found.name}}} would stay"
                    self.document.problem(found.place, message, offset=found.offset)

    def _list(self, steps: Sequence[Step], path: Path, known: Known) -> Known:
        """What is known after a list of steps."""
        for index, step in enumerate(steps):
            self._uses(step, (*path, index), known)
            self.names(step, (*path, index))
            known = self._after(step, (*path, index), known)
        return known

    def _uses(self, step: Step, path: Path, known: Known) -> None:
        # An answer is taken before it is compared, and what runs inside is over before the step is.
        late = dict.fromkeys(captured([step]))
        kind = KINDS[type(step)]
        has_steps = any(children(step)) and not kind.keeps
        for field, value in _texts(step):
            more: Known = late if has_steps or field in ("expect", "name") else {}
            more = {**more, **dict.fromkeys(kind.fills.get(field, ()))}
            for found in uses(value, (*path, field)):
                self.taken |= {found.name} & self.data.keys()
                problem = _problem(found.name, {**known, **more} if more else known)
                if problem is not None:
                    self._complain(found, *problem)

    def _complain(self, found: Placeholder, message: str, hint: str | None) -> None:
        if found.name in self.sometime:
            message, hint = f"nothing has set {found.name!r} before this step", None
        self.document.problem(found.place, message, hint, offset=found.offset)

    def names(self, step: Step, path: Path) -> None:
        """Complain about names that hold a variable, where none is filled in."""
        kind = KINDS[type(step)]
        names = [((*path, "capture", name), name) for name in step.capture]
        for noun in TAKEN:
            names += [((*path, *place), name) for place, name in kind.named(step, noun)]
        for place, name in names:
            if list(placeholders(name)):
                self.document.problem(place, f"no variable is filled in here: {name} is its name")

    def _after(self, step: Step, path: Path, known: Known) -> Known:
        """What is known after a step; its inner steps are walked, but for those of scenarios, which have files of their own."""
        kind, sets = KINDS[type(step)], dict.fromkeys(captured([step]))
        inside: Known = {**known, **self._bound(step)}
        for place, inner in inner_lists(step, path, written=True):
            # What one branch captures may be there for another one.
            inside = self._list(inner, place, {**inside, **sets} if kind.at_once else inside)
        return {**(known if kind.keeps else inside), **sets}

    def _bound(self, step: Step) -> Known:
        """The variables that a step has for those inside of it, with what they will hold where that is written."""
        lists = {
            name: self.data.get(whole_placeholder(value) or "", value)
            for name, value in step.bound().items()
        }
        return {name: value if isinstance(value, list) else None for name, value in lists.items()}


def complain_about_unknown(
    value: object, path: Path, document: Document, known: Iterable[str]
) -> None:
    """Tell every variable in `value` that is none of `known`."""
    here: Known = dict.fromkeys(known)
    for found in uses(value, path):
        problem = _problem(found.name, here)
        if problem is not None:
            document.problem(found.place, *problem, offset=found.offset)


def _problem(name: str, known: Known) -> tuple[str, str | None] | None:
    """(message, hint) when a variable is not known, or something that it will hold has no such part."""
    head = name
    while head not in known:
        head = head.rpartition(".")[0]
        if not head:
            hint = closest(name, known) or closest(name.partition(".")[0], known)
            return f"unknown variable {name!r}", hint
    parts = name[len(head) + 1 :].split(".") if head != name else []
    return next(filter(None, (_missing(name, item, parts) for item in known[head] or [])), None)


def _missing(name: str, item: object, parts: Sequence[str]) -> tuple[str, str | None] | None:
    for part in parts:
        if isinstance(item, str) and list(placeholders(item)):
            return None
        keys = item if isinstance(item, Mapping) else {}
        if part not in keys:
            near = closest(part, keys)
            hint = f"{name.removesuffix(part)}{near}" if near else None
            return (
                f"unknown variable {name!r}: not everything that it stands for has {part!r}",
                hint,
            )
        item = keys[part]
    return None


def _texts(step: Step) -> Iterator[tuple[str, object]]:
    """Fields of a step in which variables are filled in, as they are written."""
    skipped = {place.partition(".")[0] for place, _ in children(step)}
    kind = KINDS[type(step)]
    skipped |= {"capture", "defaults", *kind.filled_in}
    skipped |= {field for field, noun in kind.names.items() if noun in TAKEN}
    for name, key in zip(step.__struct_fields__, step.__struct_encode_fields__, strict=True):
        value = getattr(step, name)
        if value and key not in skipped:
            yield key, value if isinstance(value, str) else msgspec.to_builtins(value, enc_hook=str)
