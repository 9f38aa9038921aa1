"""The gateway as an ASGI application: one table of handlers, authentication before them."""

from collections.abc import Sequence
from typing import Final

from litestar import Litestar
from litestar._openapi.plugin import OpenAPIPlugin
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ASGIApp, ControllerRouterHandler

from service import SONIA_VERSION
from service.domain.audit import routes as audit
from service.domain.call import Services, provide_call
from service.domain.confirmations import routes as confirmations
from service.domain.deadletters import routes as dead_letters
from service.domain.incidents import routes as incidents
from service.domain.memory import routes as memory
from service.domain.policies import routes as policies
from service.domain.sessions import routes as sessions
from service.domain.supervision import routes as supervision
from service.domain.tasks import routes as tasks
from service.domain.tokens import routes as tokens
from service.domain.tools import routes as tools
from service.domain.turns import routes as turns
from service.gateway import diagnostics, stream
from service.gateway.lifespan import Lifespan, running
from service.http import health
from service.http.authentication import Authentication
from service.http.bodies import check_body
from service.http.browsers import for_browsers
from service.http.crowds import Crowds
from service.http.doorway import Doorway
from service.http.idempotency import Idempotency
from service.http.problems import EXCEPTION_HANDLERS
from service.http.routing import (
    RouteList,
    Sockets,
    complete_options,
    list_routes,
    resolve_roles,
)
from service.processes import Listen

MAX_BODY_BYTES: Final = 1_000_000

HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    *health.HANDLERS,
    *diagnostics.HANDLERS,
    *sessions.HANDLERS,
    *turns.HANDLERS,
    *memory.HANDLERS,
    *tasks.HANDLERS,
    *dead_letters.HANDLERS,
    *tools.HANDLERS,
    *confirmations.HANDLERS,
    *policies.HANDLERS,
    *tokens.HANDLERS,
    *audit.HANDLERS,
    *incidents.HANDLERS,
    *supervision.HANDLERS,
    *stream.HANDLERS,
)
"""Every route of the gateway. To add one, write its handler with its guard and list it here."""


def assemble(
    handlers: Sequence[ControllerRouterHandler],
    middleware: Sequence[DefineMiddleware] = (),
    lifespan: Sequence[Lifespan] = (),
    state: State | None = None,
) -> Litestar:
    """Build an application of `handlers`. Raises StartRefused when one declares no role."""
    app = Litestar(
        route_handlers=list(handlers),
        middleware=list(middleware),
        dependencies={"call": Provide(provide_call, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=check_body,
        state=state,
        openapi_config=None,
        logging_config=None,
        lifespan=list(lifespan),
        request_max_body_size=MAX_BODY_BYTES,
    )
    _describe(app)
    complete_options(app)
    resolve_roles(app)
    return app


def create_litestar(
    services: Services, handlers: Sequence[ControllerRouterHandler] = HANDLERS
) -> Litestar:
    """Build the gateway's application with authentication before every handler."""
    authentication = DefineMiddleware(
        Authentication,
        registry=services.registry,
        clock=services.clock,
        denied=services.denied,
        crowds=Crowds(),
        enabled=services.settings.auth.enabled,
    )
    idempotency = DefineMiddleware(
        Idempotency,
        storage=services.storage,
        clock=services.clock,
        max_body_bytes=MAX_BODY_BYTES,
    )
    return assemble(
        handlers,
        [authentication, idempotency],
        [running(services)],
        State({"services": services}),
    )


def describe_routes() -> RouteList:
    """List the routes that the gateway would serve, without opening any state."""
    return list_routes(assemble(HANDLERS))


def _describe(app: Litestar) -> None:
    """Let the application describe itself without the open schema pages that Litestar would add."""
    document = OpenAPIConfig(title="SONIA", version=SONIA_VERSION, use_handler_docstrings=True)
    app.plugins.get(OpenAPIPlugin)._openapi_config = document  # noqa: SLF001 - the public way adds ten public routes


def create_app(services: Services, listen: Listen) -> ASGIApp:
    """Build the application that uvicorn serves where `listen` says."""
    app = for_browsers(
        Sockets(create_litestar(services)), services.settings.http, listen.host, services.denied
    )
    return Doorway(app, services.new_id, services.metrics, services.traces, services.slo.headers)
