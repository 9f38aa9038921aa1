"""What a change to the state is: who caused it, and what it did."""

from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import apsw
import msgspec

from service.jsontypes import Json

T = TypeVar("T")
F = TypeVar("F")
R = TypeVar("R")
MAX_TARGET_CHARS: Final = 256
"""Whoever asks for something that is not there must not decide how long the rows about it are."""


class Cause(msgspec.Struct, frozen=True):
    """Who does what, on whose request: the part of an audit row known beforehand.

    `outcome` is `allowed` for a caller's action, `system` for SONIA's own and `denied` for a
    refused attempt. `actor_id` comes from a verified token, or is `system:<component>`. Of a `target`
    that is longer than any that there is the beginning is kept.
    """

    request_id: str
    actor_id: str
    actor_role: str
    action: str
    route: str
    method: str
    target: str = ""
    outcome: str = "allowed"

    def __post_init__(self) -> None:
        if len(self.target) > MAX_TARGET_CHARS:
            msgspec.structs.force_setattr(self, "target", f"{self.target[: MAX_TARGET_CHARS - 1]}…")


class Origin(msgspec.Struct, frozen=True):
    """Who changes something, on which request and when: what a durable operation needs to know of its caller."""

    actor_id: str
    request_id: str
    now_ms: int


class Effect(msgspec.Struct, Generic[T], frozen=True):
    """What one operation changed: the row it wrote, and what to answer.

    `also` is what else it changed: each has an audit row of its own, of the same cause. `after_commit` runs in the
    writer's thread once the change is durable, before anybody is told.
    """

    result: T
    table: str
    id: str
    detail: Mapping[str, Json] = {}
    after_commit: Callable[[], None] | None = None
    also: "tuple[Effect[None], ...]" = ()


class Step(NamedTuple, Generic[F, T, R]):
    """What is decided inside of one transaction: `look` reads the facts, of type `form`; `judge`, which is pure, decides by them, or raises;
    `write` carries it out.
    """

    look: Callable[[apsw.Connection], F]
    form: object
    judge: Callable[[F], T]
    write: Callable[[apsw.Connection, T], Effect[R]]

    def run(self, connection: apsw.Connection) -> Effect[R]:
        """All three."""
        return self.write(connection, self.judge(self.look(connection)))


def system_cause(component: str, action: str, request_id: str, target: str = "") -> Cause:
    """The cause of something SONIA does by itself."""
    return Cause(
        request_id=request_id,
        actor_id=f"system:{component}",
        actor_role="system",
        action=action,
        route="",
        method="",
        target=target,
        outcome="system",
    )
