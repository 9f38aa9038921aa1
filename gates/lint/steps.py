"""What can be known to be wrong with steps before they are run, whether of a gate or of a link check."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import msgspec

from chaos.engine.paths import misplaced
from chaos.faults.base import FaultStep
from chaos.spec.document import Document, Path
from chaos.spec.loader import closest
from chaos.spec.matching import number_problem, pattern_problem
from chaos.spec.step import Bearer, Send, Step
from chaos.spec.target import Target
from chaos.spec.variables import path_parts, placeholders
from chaos.steps import KINDS
from gates.spec.mapping import inner_lists

Located: TypeAlias = tuple[Path, Step]
"""A step with its place."""

_NUMBERS = frozenset({"status", "exit", "close", "accepted"})

BUILTIN_VARIABLES = frozenset({"python", "state", "root", "host", "seed"})


def target_variables(target: Target) -> set[str]:
    """Names of all variables that a target sets before the first step."""
    known = set(BUILTIN_VARIABLES)
    known |= {f"{kind}.{name}" for kind in ("port", "url") for name in target.processes}
    return known.union(*(prepare.capture for prepare in target.prepare))


def place_problem(place: str) -> str | None:
    """Why a place in an answer cannot be read, or None."""
    try:
        path_parts(place)
    except ValueError as error:
        return str(error)
    return None


class StepsLint:
    """Complains about steps, each at its place in the document."""

    def __init__(self, target: Target, document: Document) -> None:
        self.target = target
        self.document = document

    def run(self, steps: Sequence[Located]) -> None:
        """Look at each of them."""
        for path, step in steps:
            self._references(path, step)
            self._sent(path, step)
            self._expected(path, step)
            self._captured(path, step)
            self._placed(path, step)
            self._kind_rules(path, step)

    def _problem(self, path: Path, message: str, hint: str | None = None) -> None:
        self.document.problem(path, message, hint)

    def _known(self, path: Path, what: str, name: str, known: Mapping[str, object]) -> None:
        if name not in known and not list(placeholders(name)):
            message = f"unknown {what} {name!r} in target {self.target.target!r}"
            self._problem(path, message, closest(name, known))

    def _references(self, path: Path, step: Step) -> None:
        if step.to is not None:
            self._known((*path, "to"), "process", step.to, self.target.processes)
        if step.via is not None:
            self._known((*path, "via"), "link", step.via, self.target.links)
        if step.to is not None and step.via is not None:
            self._problem((*path, "to"), "go `to` a process directly or `via` a link, not both")
        self._named(path, step)
        for place, actor in actors_of(step, path):
            if isinstance(actor, str):
                self._known(place, "actor", actor, self.target.actors)

    def _named(self, path: Path, step: Step) -> None:
        kind = KINDS[type(step)]
        for place, name in kind.named(step, "process"):
            self._known((*path, *place), "process", name, self.target.processes)
            process = self.target.processes.get(name)
            if kind.starts and process is not None and process.child_of is not None:
                message = f"{name} is started by {process.child_of}, and by no step"
                self._problem((*path, *place), message)
        for place, name in kind.named(step, "link"):
            self._known((*path, *place), "link", name, self.target.links)

    def _sent(self, path: Path, step: Step) -> None:
        for place, send in _sends(step, path):
            try:
                send.target()
            except ValueError as error:
                self._problem(place, str(error))

    def _expected(self, path: Path, step: Step) -> None:
        if step.expect is None:
            return
        # What a kind does not look at would never fail.
        kind, observed = KINDS[type(step)].name, KINDS[type(step)].observes
        for field in step.expect.__struct_fields__:
            value = getattr(step.expect, field)
            if value is None:
                continue
            if field not in observed:
                which = (
                    f"it observes {', '.join(sorted(observed))}"
                    if observed
                    else "it observes nothing"
                )
                self._problem(
                    (*path, "expect", field), f"`{kind}` does not observe {field!r}: {which}"
                )
            problem = pattern_problem(value)
            if field in _NUMBERS:
                problem = problem or number_problem(value)
            if problem is not None:
                self._problem((*path, "expect", field), problem)

    def _captured(self, path: Path, step: Step) -> None:
        kind = KINDS[type(step)]
        if step.capture and not kind.captures:
            self._problem((*path, "capture"), f"`{kind.name}` has no answer to capture from")
        for name, place in step.capture.items():
            problem = place_problem(place)
            if problem is not None:
                self._problem((*path, "capture", name), problem)

    def _placed(self, path: Path, step: Step) -> None:
        for field, use in KINDS[type(step)].paths.items():
            text = getattr(step, field)
            problem = misplaced(text, use) if text is not None else None
            if problem is not None:
                self._problem((*path, field), problem)

    def _kind_rules(self, path: Path, step: Step) -> None:
        # What a fault says of itself is asked together with its link.
        problem = None if isinstance(step, FaultStep) else step.problem()
        if problem is not None:
            self._problem(path, problem)


def located(steps: list[Step], path: Path, *, written: bool = False) -> Iterator[Located]:
    """Every step with its place, those of scenarios where they are used, or those only that are `written` there."""
    for index, step in enumerate(steps):
        here = (*path, index)
        yield here, step
        for place, branch in inner_lists(step, here, written=written):
            yield from located(list(branch), place, written=written)


@cache
def _fields(kind: type[Step]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _sends(step: Step, path: Path) -> Iterator[tuple[Path, Send]]:
    for field in _fields(type(step)):
        value = getattr(step, field.name)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Send):
                place: Path = (
                    *path,
                    field.encode_name,
                    *((index,) if isinstance(value, list) else ()),
                )
                yield place, item


def actors_of(step: Step, path: Path) -> Iterator[tuple[Path, str | Bearer]]:
    """Everybody whom a step sends requests as, with the places where that is said."""
    if step.as_ is not None:
        yield (*path, "as"), step.as_
    for place, send in _sends(step, path):
        if send.as_ is not None:
            yield (*place, "as"), send.as_
