"""The gate: every request passes here after routing and before its handler.

It is plain ASGI, not a Litestar guard, because a guard costs a request object. The role a route
asks for is the one its handler declares in `opt`; a handler that declares none admits nobody.
"""

from collections.abc import Callable
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send, WebSocketScope

from service.audit.denied import DeniedAttempts
from service.auth.registry import Actor, Presented, Refusal, Registry, parse_token
from service.auth.roles import ROLE_KEY, permits
from service.clock import Clock
from service.gateway.denials import (
    Denial,
    denied_cause,
    refuse_credentials,
    refuse_role,
    send_denial,
)
from service.gateway.sockets import bearer_of_socket

_HTTP: Final = ScopeType.HTTP
_BEARER: Final = b"bearer "
AUTH_OFF: Final = Actor("auth:off", "operator", "authentication is off")


def authorization_of(scope: Scope) -> bytes | None:
    """Return the value of the Authorization header, or None."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return value
    return None


def bearer_of(authorization: bytes) -> bytes:
    """Return the token of an Authorization header, b"" for another scheme."""
    return authorization[7:].strip() if authorization[:7].lower() == _BEARER else b""


class Gate:
    """Lets a request pass to `app` with its actor, or answers it.

    A POST passes by way of `posts`, what stands before `app` for those alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        posts: Callable[[ASGIApp], ASGIApp],
        registry: Registry,
        clock: Clock,
        denied: DeniedAttempts,
        enabled: bool,
    ) -> None:
        self._app = app
        self._posts = posts(app)
        self._registry = registry
        self._clock = clock
        self._denied = denied
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or go on with `scope["state"]["actor"]` set."""
        required = scope["route_handler"].opt.get(ROLE_KEY)
        if required == "public":
            await self._app(scope, receive, send)
            return
        verdict = self._remembered(scope, required) or self._authorise(scope, required)
        if isinstance(verdict, Denial):
            self._denied.record(denied_cause(scope, verdict), verdict.reason)
            await send_denial(scope, receive, send, verdict)
            return
        scope["state"]["actor"] = verdict
        onward = self._posts if scope.get("method") == "POST" else self._app
        await onward(scope, receive, send)

    def _remembered(self, scope: Scope, required: object) -> Actor | None:
        """The caller, when the same header was found right before and is enough; never a refusal.

        This saves time and decides nothing: what is not remembered is authorised from scratch.
        """
        if scope["type"] == _HTTP and self._enabled:
            for name, value in scope["headers"]:
                if name == b"authorization":
                    actor = self._registry.recall(value)
                    return actor if actor is not None and permits(actor.role, required) else None
        return None

    def _authorise(self, scope: Scope, required: object) -> Actor | Denial:
        if not self._enabled:
            return AUTH_OFF
        if scope["type"] == _HTTP:
            actor = self._authenticate_request(scope)
        else:
            actor = self._authenticate_socket(scope)
        if isinstance(actor, Refusal):
            return refuse_credentials(actor)
        if not permits(actor.role, required):
            return refuse_role(actor)
        return actor

    def _authenticate_request(self, scope: Scope) -> Actor | Refusal:
        authorization = authorization_of(scope)
        if authorization is None:
            return Refusal.ABSENT
        presented = parse_token(bearer_of(authorization))
        verdict = self._verify(presented)
        if isinstance(verdict, Actor) and presented is not None:
            self._registry.remember(authorization, presented, verdict)
        return verdict

    def _authenticate_socket(self, scope: WebSocketScope) -> Actor | Refusal:
        token = bearer_of_socket(scope)
        if token is None:
            return Refusal.ABSENT
        presented = parse_token(token)
        scope["state"]["presented"] = presented
        return self._verify(presented)

    def _verify(self, presented: Presented | None) -> Actor | Refusal:
        if presented is None:
            return Refusal.MALFORMED
        now_ms = self._clock.now_ms()
        verdict = self._registry.verify(presented, now_ms)
        if verdict is Refusal.EXPIRED:
            # The refusal must outlive this process, or a clock turned back would undo it.
            self._clock.persist(now_ms)
        return verdict
