"""Incidents over HTTP: which bundles there are, and one more."""

import asyncio
from typing import Annotated, Final

import msgspec
from litestar import Response, post, route
from litestar.params import JSONBody

from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.effects import Effect
from service.http.guards import require_role
from service.http.routing import READ
from service.incidents import LAST_MS
from service.incidents.bundles import Manifest, bundles_of

MOST_S: Final = 86_400


class NewIncident(msgspec.Struct, frozen=True):
    """How far back the bundle goes, in seconds."""

    last_s: Annotated[float, msgspec.Meta(gt=0, le=MOST_S)] = LAST_MS / 1000


class Incident(msgspec.Struct, frozen=True):
    """A bundle below `incidents` in the state directory. `reason`: manual or degraded; `counts` are of its lines."""

    incident_id: str
    created_at_ms: int
    from_ms: float
    to_ms: float
    reason: str
    counts: dict[str, int]


class IncidentPage(msgspec.Struct, frozen=True):
    """All bundles, the oldest first."""

    items: list[Incident]
    next_cursor: str | None = None


def _incident(made: Manifest) -> Incident:
    return Incident(
        made.incident_id, made.created_at_ms, made.from_ms, made.to_ms, made.reason, made.counts
    )


@route("/v1/incidents", http_method=READ, guards=[require_role(Role.OBSERVER)])
async def list_incidents(call: InjectedCall) -> IncidentPage:
    """List the bundles that are kept, oldest first."""
    found = await asyncio.to_thread(bundles_of, call.services.state)
    return IncidentPage([_incident(each) for each in found])


@post("/v1/incidents", guards=[require_role(Role.OPERATOR)])
async def export_incident(
    call: InjectedCall, data: JSONBody[NewIncident | None] = None
) -> Response[Incident]:
    """Export what was decided in the last minutes, without secrets, into the state directory; 503 when that fails."""
    last_ms = max(1, round((data or NewIncident()).last_s * 1000))
    made = await call.services.exporter.export(last_ms)
    effect: Effect[None] = Effect(None, "incidents", made.incident_id, {"last_ms": last_ms})
    await call.storage.change(call.cause("incident.export", made.incident_id), lambda _: effect)
    return Response(_incident(made))


HANDLERS = [list_incidents, export_incident]
