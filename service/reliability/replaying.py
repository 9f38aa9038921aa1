# ruff: noqa: ARG002 - a replay has the signatures of what is live, and calls nothing of it
"""The form of a trace in which recorded inputs are decided about again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import apsw
import msgspec

from service.effects import Effect
from service.errors import ProblemError
from service.reliability.tracing import Failed, Input, NotRecorded, Run, Trace

T = TypeVar("T")
F = TypeVar("F")
R = TypeVar("R")


class Unexpected(Exception):
    """In a replay: an error that nobody had announced."""


class Replayed(Trace):
    """A trace whose inputs are those of a recorded one, stage by stage; it reads no clock and calls nothing live.

    `recorded` are the stages' names with their inputs by kind, as JSON has them. `instead` are inputs that the replay itself
    has come to: they take the place of recorded ones. `as_recorded` names the stages that an older bundle tells only the end of.
    """

    __slots__ = ("_left", "_recorded", "as_recorded", "instead")

    def __init__(
        self, request_id: str, kind: str, recorded: Sequence[tuple[str, Sequence[Input]]]
    ) -> None:
        super().__init__(request_id, kind)
        self._recorded = [(name, list(inputs)) for name, inputs in recorded]
        self._left: list[Input] = []
        self.instead: dict[str, object] = {}
        self.as_recorded: list[str] = []

    def elapsed_us(self) -> int:
        """Nothing: time stands still."""
        return 0

    def act(self, effect: Callable[[], object]) -> None:
        """Do nothing."""

    def stage(self, name: str) -> Self:
        """The next stage, with the inputs of the first recorded one of that name that was not entered yet."""
        found = next((each for each in self._recorded if each[0] == name), None)
        self._left = [] if found is None else found[1]
        if found is not None:
            self._recorded.remove(found)
        return super().stage(name)

    def has(self, kind: str) -> bool:
        """Whether there is one more input of that kind in this stage."""
        return any(each.kind == kind for each in self._left)

    def take(
        self,
        kind: str,
        produce: Callable[[], T],
        form: object,
        errors: Sequence[type[Exception]] = (),
    ) -> T:
        """Return the next recorded input of that kind, or raise it where it is an error. Raises NotRecorded."""
        value = self._read(kind, form, errors)
        self._keep(kind, value)
        return value  # type: ignore[no-any-return]  # it is of the form that the live one has

    async def ask(
        self,
        kind: str,
        produce: Callable[[], Awaitable[T]],
        form: object,
        errors: Sequence[type[Exception]] = (),
    ) -> T:
        """As `take`."""
        value = self._read(kind, form, errors)
        self._keep(kind, value)
        return value  # type: ignore[no-any-return]

    async def transact(
        self,
        change: Callable[[Run[R]], Awaitable[R]],
        look: Callable[[apsw.Connection], F],
        form: object,
        judge: Callable[[F], T],
        write: Callable[[apsw.Connection, T], Effect[R]],
    ) -> T:
        """Decide by the recorded facts, and raise what the recorded commit raised."""
        if not self.has("facts"):
            self._read("commit", None, ())
        decided = judge(self._read("facts", form, ()))
        self._read("commit", None, ())
        return decided

    async def computed(
        self,
        formerly: str,
        decide: Callable[[], Awaitable[T]],
        form: object,
        errors: Sequence[type[Exception]] = (),
    ) -> T:
        """Decide again, or return or raise what an older bundle says that it came to."""
        if not self.has(formerly):
            return await decide()
        self.as_recorded.append(self.stages[-1].name)
        return await self.ask(formerly, decide, form, errors)

    def _read(self, kind: str, form: Any, errors: Sequence[type[Exception]]) -> Any:
        if kind in self.instead:
            return self.instead[kind]
        found = next((each for each in self._left if each.kind == kind), None)
        if found is None:
            raise NotRecorded(kind)
        self._left.remove(found)
        failed = _failed_in(found.value)
        if failed is not None:
            raise _error_of(failed, errors)
        try:
            return msgspec.convert(found.value, form)
        except msgspec.ValidationError as wrong:
            raise NotRecorded(kind) from wrong


def _failed_in(value: object) -> Failed | None:
    if isinstance(value, Mapping) and value.get("failed") == "Failed":
        return msgspec.convert(value, Failed)
    return None


def _error_of(failed: Failed, errors: Sequence[type[Exception]]) -> BaseException:
    if failed.error == asyncio.CancelledError.__name__:
        return asyncio.CancelledError()
    for each in (*errors, *_problems(ProblemError)):
        if each.__name__ == failed.error:
            return each(*failed.arguments)
    return Unexpected(failed.error)


def _problems(base: type[ProblemError]) -> Iterator[type[ProblemError]]:
    for each in base.__subclasses__():
        yield each
        yield from _problems(each)
