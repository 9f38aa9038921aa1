"""The gateway as an ASGI application: one table of handlers, one gate before them."""

from collections.abc import Sequence
from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp, ControllerRouterHandler

from service.gateway import health
from service.gateway.call import Services, provide_call
from service.gateway.doorway import Doorway
from service.gateway.gate import Gate
from service.gateway.problems import EXCEPTION_HANDLERS
from service.gateway.routing import declare_automatic_options, refuse_undeclared

MAX_BODY_BYTES: Final = 1_000_000

HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (*health.HANDLERS,)
"""Every route of the gateway. To add one, write its handler with a role in `opt` and list it here."""


def create_litestar(
    services: Services, handlers: Sequence[ControllerRouterHandler] = HANDLERS
) -> Litestar:
    """Build the Litestar application. Raises StartRefused when a route declares no role."""
    gate = DefineMiddleware(
        Gate,
        registry=services.registry,
        clock=services.clock,
        denied=services.denied,
        enabled=services.settings.auth.enabled,
    )
    app = Litestar(
        route_handlers=list(handlers),
        middleware=[gate],
        dependencies={"call": Provide(provide_call, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        state=State({"services": services}),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
    )
    declare_automatic_options(app)
    refuse_undeclared(app)
    return app


def create_app(services: Services) -> ASGIApp:
    """Build the application that uvicorn serves."""
    return Doorway(create_litestar(services), services.new_id)
