"""Options that stand once for all steps below them in a file."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from chaos.engine.plan import children
from chaos.spec.document import Document, Path
from chaos.spec.loader import closest
from chaos.spec.step import Defaults, Step
from chaos.spec.target import Target
from chaos.spec.variables import placeholders
from chaos.steps import KINDS
from gates.spec.mapping import map_inner


class Spreader(Struct, frozen=True):
    """Spreads defaults over steps. What is wrong with defaults is told where they stand, and they are left out."""

    target: Target | None
    document: Document

    def usable(self, written: Defaults | None, path: Path) -> Defaults:
        """What can be used of defaults as they are written."""
        if written is None or self.target is None:
            return written or Defaults()
        known: tuple[tuple[str, str, object, Mapping[str, object]], ...] = (
            ("as", "actor", written.as_, self.target.actors),
            ("to", "process", written.to, self.target.processes),
            ("via", "link", written.via, self.target.links),
        )
        for key, what, name, names in known:
            if isinstance(name, str) and name not in names and not list(placeholders(name)):
                message = f"unknown {what} {name!r}"
                self.document.problem((*path, key), message, closest(name, names))
                field = "as_" if key == "as" else key
                written = msgspec.structs.replace(written, **{field: None})
        if written.to is not None and written.via is not None:
            message = "go `to` a process directly or `via` a link, not both"
            self.document.problem((*path, "to"), message)
            written = msgspec.structs.replace(written, via=None)
        return written

    def spread(self, steps: list[Step], outer: Defaults, path: Path) -> list[Step]:
        """The steps with `outer` and with the defaults among them, inner ones before outer ones."""
        return [self._step(step, outer, (*path, index)) for index, step in enumerate(steps)]

    def _step(self, step: Step, outer: Defaults, path: Path) -> Step:
        if step.defaults is not None and not list(children(step)):
            message = "`defaults` are for steps below them, and there are none"
            self.document.problem((*path, "defaults"), message)
        here = _merged(outer, self.usable(step.defaults, (*path, "defaults")))

        def all_of(inner: list[Step], place: Path) -> list[Step]:
            return self.spread(inner, here, place)

        return map_inner(_with(step, here), path, all_of)


def _merged(outer: Defaults, inner: Defaults) -> Defaults:
    where = outer if inner.to is None and inner.via is None else inner
    return Defaults(
        as_=outer.as_ if inner.as_ is None else inner.as_,
        to=where.to,
        via=where.via,
        within=outer.within if inner.within is None else inner.within,
    )


def _with(step: Step, defaults: Defaults) -> Step:
    """A step that sends requests, with what it does not say itself."""
    if not KINDS[type(step)].sends:
        return step
    said = Defaults(as_=step.as_, to=step.to, via=step.via, within=step.within)
    given = _merged(defaults, said)
    return msgspec.structs.replace(
        step, as_=given.as_, to=given.to, via=given.via, within=given.within
    )
