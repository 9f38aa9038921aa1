"""A gateway without its database: it listens and says so, and does nothing else.

Who may do what stood in the database, so nobody is authenticated, with whatever token; what anybody may ask is answered,
everything else is refused, and no process is started. It stays so over every start until `sonia restore` or
`sonia doctor --readmit` has put a database in place.
"""

import sys
from collections.abc import Mapping
from typing import Final

import apsw
import msgspec
from litestar import Litestar, Response, route
from litestar.datastructures import State
from litestar.types import ASGIApp, Receive, Scope, Send

from service.clock import open_clock
from service.control import refusing
from service.domain.supervision.routes import ServiceList
from service.effects import Cause
from service.errors import DatabaseLost
from service.gateway.app import assemble
from service.gateway.checks import check_exposure
from service.gateway.diagnostics import METRICS, Readiness
from service.gateway.tls import open_tls
from service.http import health
from service.http.browsers import for_browsers
from service.http.doorway import Doorway
from service.http.guards import PUBLIC
from service.http.metrics import Metrics
from service.http.problems import Problem, send_refusal
from service.http.routing import READ
from service.http.sockets import SAFE_METHODS, method_of
from service.ids import random_id
from service.internal.runner import bind, serve_on
from service.notify import ServiceManager
from service.processes import Listen
from service.reliability.admission import Snapshot
from service.reliability.ingress import open_admission
from service.reliability.tracing import Traces
from service.settings import Settings, load_settings
from service.state import StateDir
from service.storage.damage import put_aside
from service.supervisor.status import degraded as supervised

DEGRADED: Final = "degraded"


class LostStorage(msgspec.Struct, frozen=True):
    """There is no database; why, and the directory below `quarantine` that holds what was put aside by this start."""

    status: str
    sqlite_version: str
    reason: str
    quarantine: str | None


class Lost(msgspec.Struct, frozen=True):
    """What the handlers share."""

    storage: LostStorage
    metrics: Metrics
    queues: Snapshot


def _lost(state: State) -> Lost:
    lost: Lost = state.lost
    return lost


@route("/readyz", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def readyz() -> Readiness:
    """Say that the gateway answers, and can do nothing."""
    return Readiness(DEGRADED, {})


@route("/v1/storage", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def storage(state: State) -> LostStorage:
    """Say what became of the database."""
    return _lost(state).storage


@route("/v1/queues", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def queues(state: State) -> Snapshot:
    """Show the queues, in which nothing ever is."""
    return _lost(state).queues


@route("/metrics", http_method=READ, opt=PUBLIC, sync_to_thread=False, media_type=METRICS)
def metrics(state: State) -> Response[str]:
    """Counters and gauges in the Prometheus text format."""
    return Response(_lost(state).metrics.render({"sonia_degraded": 1}), media_type=METRICS)


@route("/v1/supervisor/services", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def services() -> ServiceList:
    """List the processes behind the gateway, none of which is started."""
    return ServiceList(supervised())


HANDLERS: Final = (*health.HANDLERS, readyz, storage, queues, metrics, services)


class _Counted:
    """Refused attempts, of which nothing can be written down."""

    def record(self, cause: Cause, reason: str, token_id: str = "") -> None:
        """Forget it; the answer is counted like any other."""


class Closed:
    """Lets pass what anybody may read, and refuses everything else, whoever asks."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._open = frozenset(each.path for each in app.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or go on."""
        kind: str = scope["type"]
        if kind == "lifespan" or (scope["path"] in self._open and method_of(scope) in SAFE_METHODS):
            await self._app(scope, receive, send)
            return
        problem = Problem(
            503,
            "Service unavailable",
            DEGRADED,
            "the control database is lost, so nobody can be authenticated",
            scope["state"]["request_id"],
        )
        await send_refusal(scope, receive, send, problem)


def create_app(lost: LostStorage, settings: Settings, listen: Listen) -> ASGIApp:
    """Build the application that uvicorn serves where `listen` says."""
    metrics, queues = Metrics(), open_admission(settings.admission).snapshot()
    app = assemble(HANDLERS, state=State({"lost": Lost(lost, metrics, queues)}))
    closed = for_browsers(Closed(app), settings.http, listen.host, _Counted())
    return Doorway(closed, random_id, metrics, Traces())


def serve_degraded(
    state: StateDir, listen: Listen, lost: DatabaseLost, environ: Mapping[str, str]
) -> None:
    """Put aside what is left of the database and serve without one until SIGTERM or SIGINT. Raises StartRefused."""
    settings = load_settings(state.settings)
    check_exposure(settings, listen)
    tls = open_tls(state.root, settings.http.tls)
    bound = bind(listen)
    with refusing(state):
        place = put_aside(state, open_clock(state.clock).now_ms())
    sys.stderr.write(f"degraded: {lost}\n")
    if place:
        sys.stderr.write(f"what is left of the database is in {place}\n")
    report = LostStorage(
        DEGRADED, apsw.sqlite_lib_version(), str(lost), place.name if place else None
    )
    serve_on(create_app(report, settings, listen), bound, manager=ServiceManager(environ), tls=tls)
