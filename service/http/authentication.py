"""Authentication: every request passes here after routing, and before its guards and its handler.

Whoever asks for more than what is public needs a token that holds. The caller is `scope["user"]` from here on, and
what it presented is `scope["auth"]`; whether its role is enough is the guard's to say.
"""

from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send, WebSocketScope

from service.audit.denied import DeniedAttempts
from service.auth.credentials import Actor, Presented, parse_token
from service.auth.refusals import Refusal
from service.auth.registry import Registry
from service.auth.roles import Role
from service.clock import Clock
from service.http.crowds import Crowds
from service.http.denials import (
    Denial,
    denied_cause,
    refuse_credentials,
    refuse_role,
    send_denial,
)
from service.http.guards import EVERYBODY, REFUSED, REQUIRED
from service.http.sockets import bearer_of_socket

_HTTP: Final = ScopeType.HTTP
_BEARER: Final = b"bearer "
AUTH_OFF: Final = Actor("auth:off", Role.OPERATOR, "authentication is off")


def authorization_of(scope: Scope) -> bytes | None:
    """Return the value of the Authorization header, or None; several become one, which holds no token."""
    found = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = value if found is None else found + b", " + value
    return found


def bearer_of(authorization: bytes) -> bytes:
    """Return the token of an Authorization header, b"" for another scheme."""
    return authorization[7:].strip() if authorization[:7].lower() == _BEARER else b""


class Authentication:
    """Middleware that lets a request pass to `app` with its caller, or answers 401."""

    def __init__(
        self,
        app: ASGIApp,
        registry: Registry,
        clock: Clock,
        denied: DeniedAttempts,
        crowds: Crowds,
        enabled: bool,
    ) -> None:
        self._app = app
        self._registry = registry
        self._clock = clock
        self._denied = denied
        self._crowds = crowds
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or go on with `scope["user"]` set. A handler that asks for nothing admits nobody."""
        required = scope["route_handler"].opt.get(REQUIRED)
        if required == EVERYBODY:
            await self._app(scope, receive, send)
            return
        verdict = self._judge(scope, required)
        room = self._crowds.room(verdict)
        if room is None:
            await self._serve(scope, receive, send, verdict)
            return
        waits = room.locked()
        async with room:
            # Whoever had to wait may have lost its token meanwhile.
            verdict = self._judge(scope, required) if waits else verdict
            await self._serve(scope, receive, send, verdict)

    def _judge(self, scope: Scope, required: object) -> Actor | Denial:
        verdict = self._remembered(scope) or self._authenticate(scope)
        return refuse_role(verdict) if isinstance(verdict, Actor) and required is None else verdict

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, verdict: Actor | Denial
    ) -> None:
        if isinstance(verdict, Denial):
            await self._deny(scope, receive, send, verdict)
            return
        scope["user"] = verdict
        await self._app(scope, receive, self._refusing(scope, receive, send))

    async def _deny(self, scope: Scope, receive: Receive, send: Send, denial: Denial) -> None:
        self._denied.record(denied_cause(scope, denial), denial.reason, denial.token_id)
        await send_denial(scope, receive, send, denial)

    def _refusing(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """A `send` with which the refusal of a guard is noted, and answered, as any other is."""

        async def refuse(message: Message) -> None:
            refused: Actor | None = scope["state"].get(REFUSED)
            if refused is None:
                await send(message)
            elif message["type"] != "http.response.body":
                await self._deny(scope, receive, send, refuse_role(refused))

        return refuse

    def _remembered(self, scope: Scope) -> Actor | None:
        """The caller, when the same header was found right before; never a refusal.

        This saves time and decides nothing: what is not remembered is authenticated from scratch.
        """
        if scope["type"] == _HTTP and self._enabled:
            authorization = authorization_of(scope)
            return self._registry.recall(authorization) if authorization is not None else None
        return None

    def _authenticate(self, scope: Scope) -> Actor | Denial:
        if not self._enabled:
            return AUTH_OFF
        if scope["type"] == _HTTP:
            return self._authenticate_request(scope)
        return self._authenticate_socket(scope)

    def _authenticate_request(self, scope: Scope) -> Actor | Denial:
        authorization = authorization_of(scope)
        if authorization is None:
            return refuse_credentials(Refusal.ABSENT)
        presented = parse_token(bearer_of(authorization))
        verdict = self._verify(presented)
        # Of one token there are as many spellings as a header has room for; the usual one is remembered.
        usual = authorization == b"Bearer " + bearer_of(authorization)
        if usual and isinstance(verdict, Actor) and presented is not None:
            self._registry.remember(authorization, presented, verdict)
        return verdict

    def _authenticate_socket(self, scope: WebSocketScope) -> Actor | Denial:
        token = bearer_of_socket(scope)
        if token is None:
            return refuse_credentials(Refusal.ABSENT)
        presented = parse_token(token)
        scope["auth"] = presented
        return self._verify(presented)

    def _verify(self, presented: Presented | None) -> Actor | Denial:
        if presented is None:
            return refuse_credentials(Refusal.MALFORMED)
        now_ms = self._clock.now_ms()
        verdict = self._registry.verify(presented, now_ms)
        if verdict is Refusal.EXPIRED:
            # The refusal must outlive this process, or a clock turned back would undo it.
            self._clock.persist(now_ms)
        if isinstance(verdict, Refusal):
            return refuse_credentials(verdict, presented.token_id)
        return verdict
