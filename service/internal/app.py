"""The application that every internal process serves: its own handlers beside health, readiness and routes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from litestar import Litestar, Request, route
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from service.auth.roles import Role
from service.http.bodies import check_body
from service.http.guards import EVERYBODY, PUBLIC, require_role
from service.http.health import Health, healthz
from service.http.problems import EXCEPTION_HANDLERS
from service.http.routing import READ, RouteList, complete_options, list_routes, resolve_roles
from service.ids import NewId
from service.internal.access import PUBLIC_PATHS, SignatureGate
from service.keys import Link

InternalApp = SignatureGate
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
InternalRequest = Request[object, object, State]


@route("/readyz", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def readyz() -> Health:
    """Say that the process is able to work: the listener opens only once it is."""
    return Health("ready")


@route(
    "/internal/ready", http_method=READ, guards=[require_role(Role.SERVICE)], sync_to_thread=False
)
def internal_ready() -> Health:
    """As /readyz, for callers who want to know that their signature is accepted as well."""
    return Health("ready")


@route(
    "/internal/routes", http_method=READ, guards=[require_role(Role.SERVICE)], sync_to_thread=False
)
def internal_routes(request: InternalRequest) -> RouteList:
    """List what this process answers, walked from the live application."""
    return list_routes(request.app)


def internal_app(
    handlers: Sequence[ControllerRouterHandler],
    provided: Mapping[str, object],
    link: Link,
    new_id: NewId,
    lifespan: Sequence[Lifespan] = (),
) -> InternalApp:
    """An application with `handlers` (all below /internal), closed to whoever does not sign for `link`.

    `provided` holds what handlers ask for by the name of a parameter.
    """
    app = Litestar(
        [healthz, readyz, internal_ready, internal_routes, *handlers],
        dependencies={name: _provide(value) for name, value in provided.items()},
        lifespan=list(lifespan),
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=check_body,
        openapi_config=None,
        logging_config=None,
    )
    complete_options(app)
    resolve_roles(app, options=_asked_of_options)
    return SignatureGate(app, link, new_id)


def _asked_of_options(path: str) -> str:
    return EVERYBODY if path in PUBLIC_PATHS else Role.SERVICE


def _provide(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)
