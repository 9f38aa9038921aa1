"""Supervision over HTTP."""

import msgspec
from litestar import post, put, route
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from service.auth.roles import Role
from service.domain.call import InjectedCall, Services
from service.http.guards import PUBLIC, require_role
from service.http.routing import READ
from service.supervisor.status import ServiceStatus


class ServiceList(msgspec.Struct, frozen=True):
    """All processes behind the gateway."""

    items: list[ServiceStatus]


class Maintenance(msgspec.Struct, frozen=True):
    """Whether a process is left alone from now on."""

    enabled: bool


@route("/v1/supervisor/services", http_method=READ, opt=PUBLIC, sync_to_thread=False)
def list_services(state: State) -> ServiceList:
    """List the processes behind the gateway, with what is left of their budgets of restarts."""
    services: Services = state.services
    return ServiceList(services.supervisor.statuses())


@post(
    "/v1/supervisor/services/{service:str}/restart",
    guards=[require_role(Role.OPERATOR)],
    status_code=202,
)
async def restart(call: InjectedCall, service: FromPath[str]) -> ServiceStatus:
    """Restart a process; answered once the attempt is written down, before the process has ended."""
    cause = call.cause("supervisor.restart", service)
    return await call.services.supervisor.restart(service, cause)


@post(
    "/v1/supervisor/services/{service:str}/reset",
    guards=[require_role(Role.OPERATOR)],
    status_code=200,
)
async def reset(call: InjectedCall, service: FromPath[str]) -> ServiceStatus:
    """Give a process all of its restarts anew; one that was given up is tried again."""
    cause = call.cause("supervisor.reset", service)
    return await call.services.supervisor.reset(service, cause)


@put("/v1/supervisor/services/{service:str}/maintenance", guards=[require_role(Role.OPERATOR)])
async def maintain(
    call: InjectedCall, service: FromPath[str], data: JSONBody[Maintenance]
) -> ServiceStatus:
    """Leave a process alone, as it is, whether it answers or ends; or take care of it again."""
    cause = call.cause("supervisor.maintenance", service)
    return await call.services.supervisor.maintain(service, data.enabled, cause)


HANDLERS = [list_services, restart, reset, maintain]
