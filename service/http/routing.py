"""Which routes the live application has, and which role each asks for."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec
from litestar import Litestar, Response
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.routes import ASGIRoute, BaseRoute, HTTPRoute, WebSocketRoute
from litestar.types import Message, Method, Receive, Scope, Send
from litestar.utils.path import normalize_path

from service.errors import StartRefused
from service.http.guards import EVERYBODY, REQUIRED, requirement
from service.http.problems import Problem, allowed, send_refusal

READ: Final[Sequence[Method]] = ("GET", "HEAD")
"""The methods of a reading handler: HEAD works wherever GET does."""


class RouteItem(msgspec.Struct, frozen=True):
    """One method of one path. `kind` is http, websocket or mount."""

    method: str
    path: str
    role: str
    kind: str


class RouteList(msgspec.Struct, frozen=True):
    """All routes of the live application."""

    items: tuple[RouteItem, ...]


def walk(app: Litestar) -> Iterator[RouteItem]:
    """Yield every method of every route, mounts and sockets included, with what `resolve_roles` found."""
    for each in app.routes:
        for method, kind, handler in _handlers(each):
            yield RouteItem(method, each.path_format, str(handler.opt.get(REQUIRED)), kind)


def _handlers(each: BaseRoute) -> Iterator[tuple[str, str, BaseRouteHandler]]:
    if isinstance(each, HTTPRoute):
        for method, (handler, _) in each.route_handler_map.items():
            yield str(method), "http", handler
    elif isinstance(each, WebSocketRoute):
        yield "WEBSOCKET", "websocket", each.route_handler
    elif isinstance(each, ASGIRoute):
        yield "*", "mount", each.route_handler


def resolve_roles(app: Litestar, options: Callable[[str], str] = lambda _: EVERYBODY) -> None:
    """Find which role each handler asks for. Raises StartRefused naming all that ask for none, or for several.

    `options` says it of the OPTIONS handlers that Litestar adds by itself, by their path: they only list methods. One that
    declares its role is none of these.
    """
    undeclared = []
    for each in app.routes:
        for method, _, handler in _handlers(each):
            automatic = options(each.path) if method == "OPTIONS" else None
            found = handler.opt[REQUIRED] = requirement(handler) or automatic
            if found is None:
                undeclared.append(f"{method} {each.path_format}")
    if undeclared:
        raise StartRefused(
            f"no role is declared for {', '.join(sorted(undeclared))}",
            "give each handler exactly one guard, or opt=PUBLIC",
        )


class Sockets:
    """Middleware by which a WebSocket that is not opened gets a whole answer: what no handler refuses is closed only."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._paths = frozenset(
            each.path for each in app.routes if isinstance(each, WebSocketRoute)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404 where there is no socket, 500 for one that failed before it opened, or go on."""
        if scope["type"] != ScopeType.WEBSOCKET:
            await self._app(scope, receive, send)
        elif normalize_path(scope["path"]) not in self._paths:
            await send_refusal(scope, receive, send, _problem(scope, 404, "Not found", "not_found"))
        else:
            await self._app(scope, receive, _answering(scope, receive, send))


def _problem(scope: Scope, status: int, title: str, code: str) -> Problem:
    return Problem(status, title, code, title, str(scope["state"]["request_id"]))


def _answering(scope: Scope, receive: Receive, send: Send) -> Send:
    answered = False

    async def answer(message: Message) -> None:
        nonlocal answered
        if message["type"] == "websocket.close" and not answered:
            failed = _problem(scope, 500, "Internal error", "internal_error")
            await send_refusal(scope, receive, send, failed)
        else:
            await send(message)
        answered = True

    return answer


def complete_options(app: Litestar) -> None:
    """Have OPTIONS list all methods of a path: what Litestar adds knows those of the path's first handler."""
    for each in app.routes:
        if isinstance(each, HTTPRoute):
            handler, _ = each.route_handler_map["OPTIONS"]
            if requirement(handler) is None:
                handler.after_request = _allowing(allowed(each.route_handler_map))


def _allowing(allow: str) -> Callable[[Response[object]], Awaitable[Response[object]]]:
    async def complete(response: Response[object]) -> Response[object]:
        response.headers["Allow"] = allow
        return response

    return complete


def list_routes(app: Litestar) -> RouteList:
    """Every route of the live application, ordered by path and method."""
    return RouteList(tuple(sorted(walk(app), key=lambda item: (item.path, item.method))))
