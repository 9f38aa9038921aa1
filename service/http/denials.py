"""Refused requests: how they are answered, and what the audit log is told of them."""

from typing import Final

import msgspec
from litestar.types import Receive, Scope, Send

from service.auth.credentials import Actor
from service.auth.refusals import Refusal
from service.http.problems import Problem, send_refusal
from service.http.sockets import method_of
from service.reliability.tracing import Answer
from service.storage import Cause

_CHALLENGE_ABSENT: Final = b"Bearer"
_CHALLENGE_INVALID: Final = b'Bearer error="invalid_token"'
_CHALLENGE_SCOPE: Final = b'Bearer error="insufficient_scope"'


class Denial(msgspec.Struct, frozen=True):
    """A refused request: what is answered, and why, which only the audit log is told."""

    status: int
    title: str
    code: str
    detail: str
    challenge: bytes
    reason: str
    actor: Actor | None = None
    token_id: str = ""

    @property
    def answer(self) -> Answer:
        """What is answered, as the trace has it."""
        return Answer(self.status, self.code)


_OF_A_TOKEN: Final = frozenset({Refusal.WRONG_SECRET, Refusal.REVOKED, Refusal.EXPIRED})


def refuse_credentials(reason: Refusal, token_id: str = "") -> Denial:
    """The 401 for missing credentials, or the one 401 for all kinds of wrong ones.

    `token_id` is the one that was presented; it is taken down where there is such a token.
    """
    if reason is Refusal.ABSENT:
        return Denial(
            401, "Unauthorized", "unauthorized", "credentials are needed", _CHALLENGE_ABSENT, reason
        )
    return Denial(
        401,
        "Unauthorized",
        "invalid_token",
        "the token is not valid",
        _CHALLENGE_INVALID,
        reason,
        token_id=token_id if reason in _OF_A_TOKEN else "",
    )


def refuse_role(actor: Actor) -> Denial:
    """The 403 for a caller whose role is not enough."""
    return Denial(
        403,
        "Forbidden",
        "insufficient_scope",
        "the token's role does not allow this",
        _CHALLENGE_SCOPE,
        "insufficient_scope",
        actor,
    )


def denied_cause(scope: Scope, denial: Denial) -> Cause:
    """The audit row of a refused attempt; an unverified caller has no name in it."""
    actor = denial.actor
    return Cause(
        request_id=scope["state"]["request_id"],
        actor_id=actor.id if actor else "anonymous",
        actor_role=actor.role if actor else "anonymous",
        action="auth.denied",
        route=scope["path_template"],
        method=method_of(scope),
        target=scope["path"],
        outcome="denied",
    )


async def send_denial(scope: Scope, receive: Receive, send: Send, denial: Denial) -> None:
    """Answer `denial` over HTTP, or as the HTTP answer that refuses a WebSocket."""
    request_id = scope["state"]["request_id"]
    problem = Problem(denial.status, denial.title, denial.code, denial.detail, request_id)
    await send_refusal(scope, receive, send, problem, denial.challenge)
