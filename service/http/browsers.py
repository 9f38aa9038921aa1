"""What browsers are kept from: pages of other sites that use a name of their own for this host, or the user's browser.

A page can have a browser send requests to any port of its host, and can point a name of its own at it (DNS rebinding).
Browsers say in `Host` which name they were given and in `Origin` whose page it is; both are looked at before anybody
is asked who they are, so that it holds with authentication off, too.
"""

import functools
from collections.abc import Iterable
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from service.effects import Cause
from service.http.problems import Problem, send_refusal
from service.http.sharing import Sharing
from service.http.sockets import SAFE_METHODS, method_of
from service.processes import REACHED_AT
from service.settings import HttpSettings


class Foreign(msgspec.Struct, frozen=True):
    """Why a request does not belong here: what is answered, and `reason` for the audit log."""

    status: int
    title: str
    code: str
    detail: str
    reason: str


_TWO_HOSTS: Final = Foreign(
    400, "Bad request", "invalid_request", "a request names one Host", "ambiguous_host"
)
_MISDIRECTED: Final = Foreign(
    421,
    "Misdirected request",
    "foreign_host",
    "this is not one of the gateway's names; http.hosts in sonia.yaml lists them",
    "foreign_host",
)
_FOREIGN_ORIGIN: Final = Foreign(
    403,
    "Forbidden",
    "foreign_origin",
    "pages of this origin may change nothing here; http.origins in sonia.yaml lists those that may",
    "foreign_origin",
)


class Surroundings:
    """Which names this gateway goes by, and whose pages may use it. Entries are names of hosts, or whole origins."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str], listens_on: str) -> None:
        own = () if listens_on in REACHED_AT else (listens_on,)
        self._hosts = frozenset(_bare(each) for each in (*hosts, *own))
        self._origins = frozenset(each.lower() for each in origins if "://" in each)
        self._names = frozenset(_bare(each) for each in origins if "://" not in each)
        # Nearly every request says the same; what is remembered is short, and little of it.
        self._is_own_host = functools.lru_cache(64)(self._find_host)

    def foreign(self, scope: Scope) -> Foreign | None:
        """Say why a request does not belong here, if so."""
        hosts: list[bytes] = []
        origins: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
        # Only HTTP/1.0 may do without, which no browser speaks.
        if len(hosts) != 1 and (hosts or scope["http_version"] != "1.0"):
            return _TWO_HOSTS
        if hosts and not self._is_own_host(hosts[0]):
            return _MISDIRECTED
        unsafe = method_of(scope) not in SAFE_METHODS
        if unsafe and origins and not (len(origins) == 1 and self._is_own_origin(origins[0])):
            return _FOREIGN_ORIGIN
        return None

    def _find_host(self, host: bytes) -> bool:
        name, colon, port = host.decode("latin-1").lower().rpartition(":")
        if not colon or port.endswith("]"):
            return _bare(host.decode("latin-1")) in self._hosts
        return (not port or (port.isascii() and port.isdigit())) and _bare(name) in self._hosts

    def _is_own_origin(self, origin: bytes) -> bool:
        text = origin.decode("latin-1").lower()
        if text in self._origins:
            return True
        try:
            parts = urlsplit(text)
            name = parts.hostname if parts.port is None or parts.port >= 0 else None
        except ValueError:
            return False
        return parts.scheme in {"http", "https"} and text.count("/") == 2 and name in self._names


class Denied(Protocol):
    """Who takes down refused attempts."""

    def record(self, cause: Cause, reason: str, token_id: str = "") -> None:
        """Take one down."""


class Threshold:
    """Middleware that answers what does not belong here, before it is asked who calls."""

    def __init__(self, app: ASGIApp, surroundings: Surroundings, denied: Denied) -> None:
        self._app = app
        self._surroundings = surroundings
        self._denied = denied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or go on."""
        kind: str = scope["type"]
        foreign = None if kind == "lifespan" else self._surroundings.foreign(scope)
        if foreign is None:
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"]
        cause = Cause(
            request_id=request_id,
            actor_id="anonymous",
            actor_role="anonymous",
            action="auth.denied",
            route="",
            method=method_of(scope),
            target=scope["path"],
            outcome="denied",
        )
        self._denied.record(cause, foreign.reason)
        problem = Problem(foreign.status, foreign.title, foreign.code, foreign.detail, request_id)
        await send_refusal(scope, receive, send, problem)


def for_browsers(app: ASGIApp, settings: HttpSettings, listens_on: str, denied: Denied) -> ASGIApp:
    """`app` with all that browsers are kept from, and told, before it. Whose pages may read may change something, too."""
    cors = settings.cors
    surroundings = Surroundings(settings.hosts, (*settings.origins, *cors.origins), listens_on)
    threshold = Threshold(app, surroundings, denied)
    return Sharing(threshold, cors) if cors.origins else threshold


def _bare(host: str) -> str:
    """The name without the brackets of an IPv6 address."""
    return host.lower().removeprefix("[").removesuffix("]")
