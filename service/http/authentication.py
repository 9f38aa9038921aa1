"""Authentication: every request passes here after routing, and before its guards and its handler.

Whoever asks for more than what is public needs a token that holds. The caller is `scope["user"]` from here on, and
what it presented is `scope["auth"]`; whether its role is enough is the guard's to say.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send, WebSocketScope

from service.audit.denied import DeniedAttempts
from service.auth.credentials import Actor, Found, Presented, decide, parse_token
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
from service.reliability.tracing import Trace, trace_of

_HTTP: Final = ScopeType.HTTP
_BEARER: Final = b"bearer "
AUTH_OFF: Final = Actor("auth:off", Role.OPERATOR, "authentication is off")
EVERYONE: Final = Actor("", "", "")
Credentials: TypeAlias = Presented | Found | Refusal | Actor | None
"""What a caller has shown: a token, or one that was verified before; nothing of use; nothing where nothing is asked for."""


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
        trace = trace_of(scope)
        trace.envelope["requires"] = required
        if required == EVERYBODY:
            authenticate(trace, None, self._registry.look_up, self._clock.now_ms)
            await self._app(scope, receive, send)
            return
        verdict = self._judge(scope, trace, required)
        room = self._crowds.room(verdict)
        if room is None:
            await self._serve(scope, receive, send, verdict)
            return
        waits = room.locked()
        async with room:
            # Whoever had to wait may have lost its token meanwhile.
            verdict = self._judge(scope, trace.again(), required) if waits else verdict
            await self._serve(scope, receive, send, verdict)

    def _judge(self, scope: Scope, trace: Trace, required: object) -> Actor | Denial:
        verdict = self._authenticate(scope, trace)
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

    def _authenticate(self, scope: Scope, trace: Trace) -> Actor | Denial:
        credentials = self._credentials(scope)
        verdict = authenticate(trace, credentials, self._registry.look_up, self._clock.now_ms)
        if verdict is Refusal.EXPIRED:
            # The refusal must outlive this process, or a clock turned back would undo it.
            self._clock.persist(self._clock.now_ms())
        if isinstance(verdict, Refusal):
            token_id = credentials.token_id if isinstance(credentials, Presented) else ""
            return refuse_credentials(verdict, token_id)
        if isinstance(credentials, Presented) and scope["type"] == _HTTP:
            self._remember(scope, credentials, verdict)
        return verdict

    def _credentials(self, scope: Scope) -> Credentials:
        if not self._enabled:
            return AUTH_OFF
        return self._of_request(scope) if scope["type"] == _HTTP else self._of_socket(scope)

    def _of_request(self, scope: Scope) -> Credentials:
        authorization = authorization_of(scope)
        if authorization is None:
            return Refusal.ABSENT
        # This saves time and decides nothing: a refusal is not remembered, and neither is what has an end.
        remembered = self._registry.recall(authorization)
        if remembered is not None:
            return Found(remembered, None, None, 0)
        return parse_token(bearer_of(authorization)) or Refusal.MALFORMED

    def _of_socket(self, scope: WebSocketScope) -> Credentials:
        token = bearer_of_socket(scope)
        if token is None:
            return Refusal.ABSENT
        scope["auth"] = presented = parse_token(token)
        return presented or Refusal.MALFORMED

    def _remember(self, scope: Scope, presented: Presented, actor: Actor) -> None:
        """Of one token there are as many spellings as a header has room for; the usual one is remembered."""
        authorization = authorization_of(scope) or b""
        if authorization == b"Bearer " + bearer_of(authorization):
            self._registry.remember(authorization, presented, actor)


def authenticate(
    trace: Trace,
    credentials: Credentials,
    look_up: Callable[[Presented], Found | None],
    now_ms: Callable[[], int],
) -> Actor | Refusal:
    """Decide who calls, or why it is nobody: a stage of the trace. Who is asked for nothing (None) is EVERYONE."""
    with trace.stage("authenticate") as stage:
        trace.envelope["credentials"] = kind_of(credentials)
        verdict = _verdict(trace, credentials, look_up, now_ms)
        if isinstance(verdict, Refusal):
            stage.decide("refused", verdict)
            return verdict
        stage.decide("public" if credentials is None else "admitted")
        trace.actor_id, trace.role = verdict.id, verdict.role
        return verdict


def _verdict(
    trace: Trace,
    credentials: Credentials,
    look_up: Callable[[Presented], Found | None],
    now_ms: Callable[[], int],
) -> Actor | Refusal:
    if credentials is None:
        return EVERYONE
    if isinstance(credentials, Refusal | Actor):
        return credentials

    def find() -> Found | None:
        return credentials if isinstance(credentials, Found) else look_up(credentials)

    found = trace.take("token", find, Found | None)
    return decide(found, trace.take("now_ms", now_ms, int))


def kind_of(credentials: Credentials) -> str:
    """What was presented, in a word: not_needed, no_credentials, malformed, off or token. Pure."""
    match credentials:
        case None:
            return "not_needed"
        case Refusal():
            return credentials.value
        case Actor():
            return "off"
        case _:
            return "token"


def of_kind(kind: str) -> Credentials:
    """Credentials of that kind, for a replay: the token itself is an input. Pure."""
    if kind in {"not_needed", "off"}:
        return None if kind == "not_needed" else AUTH_OFF
    return Presented("", b"") if kind == "token" else Refusal(kind)
