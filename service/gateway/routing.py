"""Which routes the live application has, and which role each asks for."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from litestar import Litestar
from litestar.handlers import BaseRouteHandler
from litestar.routes import ASGIRoute, BaseRoute, HTTPRoute, WebSocketRoute
from litestar.types import Method

from service.auth.roles import DECLARABLE, PUBLIC, ROLE_KEY
from service.errors import StartRefused

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


def declare_automatic_options(app: Litestar) -> None:
    """Declare the OPTIONS handlers that Litestar adds by itself as public: they only list methods."""
    for each in app.routes:
        if isinstance(each, HTTPRoute):
            for handler in each.route_handlers:
                if handler.http_methods == {"OPTIONS"}:
                    handler.opt.update(PUBLIC)


def walk(app: Litestar) -> Iterator[tuple[RouteItem, bool]]:
    """Yield every method of every route, mounts and sockets included, and whether its role is declared."""
    for each in app.routes:
        for method, kind, handler in _handlers(each):
            role = handler.opt.get(ROLE_KEY)
            yield RouteItem(method, each.path_format, str(role), kind), role in DECLARABLE


def _handlers(each: BaseRoute) -> Iterator[tuple[str, str, BaseRouteHandler]]:
    if isinstance(each, HTTPRoute):
        for method, (handler, _) in each.route_handler_map.items():
            yield str(method), "http", handler
    elif isinstance(each, WebSocketRoute):
        yield "WEBSOCKET", "websocket", each.route_handler
    elif isinstance(each, ASGIRoute):
        yield "*", "mount", each.route_handler


def refuse_undeclared(app: Litestar) -> None:
    """Raise StartRefused naming every route whose handler declares no role that SONIA knows."""
    undeclared = [f"{item.method} {item.path}" for item, declared in walk(app) if not declared]
    if undeclared:
        raise StartRefused(f"no role is declared for {', '.join(sorted(undeclared))}")


def list_routes(app: Litestar) -> RouteList:
    """Every route of the live application, ordered by path and method."""
    return RouteList(
        tuple(sorted((item for item, _ in walk(app)), key=lambda item: (item.path, item.method)))
    )
