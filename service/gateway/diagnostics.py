"""What the gateway tells about itself: readiness, storage, metrics, routes and its OpenAPI document."""

from typing import Final

import msgspec
from litestar import Request, Response, route
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from service.auth.roles import Role
from service.domain.call import Services
from service.http.description import document_of
from service.http.guards import PUBLIC, require_role
from service.http.routing import READ, RouteList, list_routes
from service.reliability.admission import QueueCounts, Snapshot
from service.reliability.degrade import SloStatus
from service.storage.store import StorageReport

METRICS: Final = "text/plain; version=0.0.4"


class Readiness(msgspec.Struct, frozen=True):
    """The gateway serves; `dependencies` says which processes behind it are up or down."""

    status: str
    dependencies: dict[str, str]


def services_of(state: State) -> Services:
    """The gateway's services, for public handlers, which have no Call."""
    services: Services = state.services
    return services


@route("/readyz", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def readyz(state: State) -> Readiness:
    """Say that the gateway is ready. It stays ready while a dependency is down, and says so.

    `impaired`: it answers, and something that it does by itself has not been done for a long time; its log says what.
    """
    services = services_of(state)
    status = "impaired" if services.timers.late else "ready"
    return Readiness(status, services.dependencies.states())


@route("/v1/storage", http_method=READ, opt=PUBLIC)
async def storage(state: State) -> StorageReport:
    """Report the database's settings as the writer's own connection has them."""
    return await services_of(state).storage.report()


@route("/v1/slo/status", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def slo_status(state: State) -> SloStatus:
    """Say whether turns are within their limits, and what degrade mode has switched off."""
    return services_of(state).slo.status()


@route("/v1/queues", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def queues(state: State) -> Snapshot:
    """Show what waits, is in flight and is over in each queue, and in all together, at one instant."""
    return services_of(state).ingress.snapshot()


@route("/metrics", http_method=READ, opt=PUBLIC, sync_to_thread=False, media_type=METRICS)
def metrics(state: State) -> Response[str]:
    """Counters and gauges in the Prometheus text format."""
    services = services_of(state)
    lines = services.metrics.render(
        {
            "sonia_denied_total": services.denied.total,
            "sonia_checkpoints_failed_total": services.storage.checkpoints_failed,
            "sonia_storage_batches_total": services.storage.batches,
            "sonia_storage_operations_total": services.storage.operations,
            "sonia_storage_waiting": services.storage.waiting,
            "sonia_storage_owed": services.storage.owed,
            **_of_queues(services.ingress.snapshot()),
            "sonia_outbox_pending": services.outbox.pending,
            "sonia_timer_errors_total": services.timers.errors,
            "sonia_timers_late": services.timers.late,
            "sonia_slo_degraded": int(services.slo.degraded),
            "sonia_slo_transitions_total": services.slo.transitions,
            "sonia_traces_lost_total": services.trace_writer.lost,
            "sonia_supervisor_exhausted": sum(
                each.exhausted for each in services.supervisor.statuses()
            ),
        }
    )
    return Response(lines, media_type=METRICS)


def _of_queues(snapshot: Snapshot) -> dict[str, int]:
    """What metrics tell of the queues: what is a state now, and what only grows."""
    states = ("queued", "in_flight", "cost")
    names = {
        name: f"sonia_queue_{name}" if name in states else f"sonia_queue_{name}_total"
        for name in QueueCounts.__struct_fields__
    }
    return {
        f'{series}{{queue="{queue}"}}': getattr(counts, name)
        for name, series in names.items()
        for queue, counts in snapshot.queues.items()
    }


@route("/v1/routes", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def routes(request: Request[object, object, State]) -> RouteList:
    """List every route of the live application with its role."""
    return list_routes(request.app)


@route(
    "/v1/openapi.json",
    http_method=READ,
    guards=[require_role(Role.OBSERVER)],
    sync_to_thread=True,
    responses={
        200: ResponseSpec(dict[str, object], description="The document.", generate_examples=False)
    },
)
def openapi(request: Request[object, object, State]) -> Response[bytes]:
    """Describe the live application in OpenAPI 3.1."""
    return Response(document_of(request.app), media_type="application/json")


HANDLERS = [readyz, storage, slo_status, queues, metrics, routes, openapi]
