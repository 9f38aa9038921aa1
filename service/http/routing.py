"""Which routes the live application has, and which role each asks for."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec
from litestar import Litestar, Response
from litestar.handlers import BaseRouteHandler
from litestar.routes import ASGIRoute, BaseRoute, HTTPRoute, WebSocketRoute
from litestar.types import Method

from service.errors import StartRefused
from service.http.guards import EVERYBODY, REQUIRED, requirement
from service.http.problems import allowed

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
