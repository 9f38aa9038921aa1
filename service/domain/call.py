"""What a handler is given: who calls, under which request id, and the gateway's services."""

import asyncio
from collections.abc import Callable

import msgspec
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.types import Scope

from service.audit.denied import DeniedAttempts
from service.audit.verify import AuditReport
from service.auth.credentials import Actor
from service.auth.registry import Registry
from service.clock import Clock
from service.dependencies import Dependencies
from service.domain.tasks.worker import Worker
from service.domain.tools.running import Runner
from service.effects import Cause, Origin
from service.http.metrics import Metrics
from service.http.shared import Shared
from service.http.sockets import method_of
from service.ids import NewId
from service.incidents.exporting import Exporter
from service.incidents.segments import TraceWriter
from service.keys import KeyMaterial
from service.outbox.dispatcher import Outbox
from service.reliability.degrade import DegradeMode
from service.reliability.ingress import Ingress
from service.reliability.tracing import TRACE, Trace, Traces
from service.settings import Settings
from service.state import StateDir
from service.storage import Storage
from service.supervisor.status import Supervision
from service.timers import Timers


class Services(msgspec.Struct, frozen=True):
    """Everything the gateway's handlers share, made once at start-up."""

    state: StateDir
    settings: Settings
    keys: KeyMaterial
    clock: Clock
    storage: Storage
    registry: Registry
    denied: DeniedAttempts
    dependencies: Dependencies
    outbox: Outbox
    ingress: Ingress
    runner: Runner
    worker: Worker
    timers: Timers
    metrics: Metrics
    traces: Traces
    trace_writer: TraceWriter
    exporter: Exporter
    new_id: NewId
    new_secret: Callable[[], str]
    verification: Shared[AuditReport]
    searches: asyncio.Lock
    supervisor: Supervision
    slo: DegradeMode


class Call(msgspec.Struct, frozen=True):
    """One authorised request. `actor` comes from the verified token and from nowhere else."""

    actor: Actor
    request_id: str
    route: str
    method: str
    services: Services
    trace: Trace

    def cause(self, action: str, target: str = "") -> Cause:
        """The audit row's first half for what this call does."""
        return Cause(
            request_id=self.request_id,
            actor_id=self.actor.id,
            actor_role=self.actor.role,
            action=action,
            route=self.route,
            method=self.method,
            target=target,
        )

    def origin(self) -> Origin:
        """The caller, as durable operations are told of it, now."""
        return Origin(self.actor.id, self.request_id, self.now_ms())

    @property
    def storage(self) -> Storage:
        """The control database."""
        return self.services.storage

    def now_ms(self) -> int:
        """The time, in milliseconds since the epoch, that never goes back."""
        return self.services.clock.now_ms()


InjectedCall = NamedDependency[Call]
"""How a handler asks for its Call: `call: InjectedCall`."""


def provide_call(scope: Scope, state: State) -> Call:
    """Build the Call of a request that was let through; Litestar injects it as `call`."""
    request = scope["state"]
    services: Services = state.services
    return Call(
        actor=scope["user"],
        request_id=request["request_id"],
        route=scope["path_template"],
        method=method_of(scope),
        services=services,
        trace=request[TRACE],
    )
