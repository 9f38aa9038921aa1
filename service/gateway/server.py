"""Serving the gateway: checks, then the application, then, last of all, the port."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from service.control import open_control, refusing
from service.errors import DatabaseLost
from service.ids import random_id
from service.processes import GATEWAY
from service.state import StateDir

if TYPE_CHECKING:
    from service.domain.call import Services

MAX_FRAME_BYTES: Final = 1 << 20


def run_gateway(state: StateDir, environ: Mapping[str, str], with_children: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, on request with the other processes as children.

    Where the database is lost, what is left of it is put aside, and what anybody may ask is served without one.
    Raises StartRefused, in which case no port was opened.
    """
    listen = GATEWAY.listen(environ)
    lock = state.lock()
    try:
        control = open_control(state)
        try:
            # A state that is not sound is refused in half the time when the framework is not imported for it.
            from service.gateway.app import create_app  # noqa: PLC0415 - see above
            from service.gateway.boot import boot  # noqa: PLC0415 - see above
            from service.gateway.tls import open_tls  # noqa: PLC0415 - see above
            from service.internal.runner import bind, serve_on  # noqa: PLC0415 - see above
            from service.notify import ServiceManager  # noqa: PLC0415 - see above

            tls = open_tls(state.root, control.settings.http.tls)
            with refusing(state):
                services = boot(control, listen, environ, random_id, with_children)
                app = create_app(services, listen)
            # Bound here, so that a port in use is a refusal; it listens after the lifespan began.
            bound = bind(listen)
            manager = ServiceManager(environ, partial(goes_on, services))
            with services.supervisor:
                serve_on(app, bound, MAX_FRAME_BYTES, manager, tls)
        finally:
            control.close()
    except DatabaseLost as lost:
        from service.gateway.degraded import serve_degraded  # noqa: PLC0415 - see above

        serve_degraded(state, listen, lost, environ)
    finally:
        state.unlock(lock)


async def goes_on(services: "Services") -> None:
    """Return when the writer and the supervisor have come by; what fails again and again goes on, too."""
    await services.storage.beat()
    await services.supervisor.beat()
