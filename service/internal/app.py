"""The application that every internal process serves: its own handlers beside health, readiness and routes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from service.auth.roles import PUBLIC, SERVICE
from service.gateway.problems import EXCEPTION_HANDLERS
from service.ids import NewId
from service.internal.access import PUBLIC_PATHS, ServiceTokenGate

InternalApp = ServiceTokenGate
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
InternalRequest = Request[object, object, State]


class Health(msgspec.Struct, frozen=True):
    """The process is alive (`ok`), or able to work (`ready`)."""

    status: str


class RouteItem(msgspec.Struct, frozen=True):
    """One route of the live application; `role` is who may call it."""

    method: str
    path: str
    role: str


class RouteList(msgspec.Struct, frozen=True):
    """All routes of the live application."""

    items: list[RouteItem]


@get("/healthz", opt=PUBLIC)
async def healthz() -> Health:
    """Say that the process answers."""
    return Health("ok")


@get("/readyz", opt=PUBLIC)
async def readyz() -> Health:
    """Say that the process is able to work: the listener opens only once it is."""
    return Health("ready")


@get("/internal/ready", opt=SERVICE)
async def internal_ready() -> Health:
    """As /readyz, for callers who want to know that their service token is accepted as well."""
    return Health("ready")


@get("/internal/routes", opt=SERVICE)
async def internal_routes(request: InternalRequest) -> RouteList:
    """List what this process answers, walked from the live application."""
    return RouteList(
        sorted(
            (
                RouteItem(method, route.path, "public" if route.path in PUBLIC_PATHS else "service")
                for route in request.app.routes
                for method in getattr(route, "methods", ["*"])
            ),
            key=lambda item: (item.path, item.method),
        )
    )


def internal_app(
    handlers: Sequence[ControllerRouterHandler],
    provided: Mapping[str, object],
    service_token: str,
    new_id: NewId,
    lifespan: Sequence[Lifespan] = (),
) -> InternalApp:
    """An application with `handlers` (all below /internal), closed to callers without `service_token`.

    `provided` holds what handlers ask for by the name of a parameter.
    """
    app = Litestar(
        [healthz, readyz, internal_ready, internal_routes, *handlers],
        dependencies={name: _provide(value) for name, value in provided.items()},
        lifespan=list(lifespan),
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    return ServiceTokenGate(app, service_token, new_id)


def _provide(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)
