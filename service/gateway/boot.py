"""Start-up of the gateway: what must be true before its port opens."""

import asyncio
import random
import time
from collections.abc import Mapping
from functools import partial

from service.audit.denied import DeniedAttempts
from service.auth.bootstrap import adopt_bootstrap_tokens
from service.control import Control, die
from service.dependencies import open_dependencies
from service.dependencies.breaker import BreakerState
from service.domain.call import Services
from service.domain.confirmations.records import expire_overdue
from service.domain.tasks.claims import settle_running
from service.domain.tasks.worker import Worker
from service.domain.tools.records import settle_interrupted
from service.domain.tools.running import Runner
from service.domain.turns.pipeline import send_canary
from service.gateway.checks import check_exposure, check_operator
from service.gateway.lifespan import timers
from service.gateway.restoring import record, restore
from service.http.idempotency import settle as settle_keys
from service.http.metrics import Metrics
from service.http.shared import Shared
from service.ids import NewId
from service.incidents.exporting import Exporter
from service.incidents.segments import TraceWriter
from service.keys import new_secret
from service.outbox.dispatcher import Outbox
from service.processes import BEHIND, Listen
from service.reliability.degrade import DegradeMode
from service.reliability.ingress import LOOK_EVERY_S, Ingress, tell_of_queues
from service.reliability.modes import TURNS, read_mode
from service.reliability.slo import Mode
from service.reliability.tracing import Traces
from service.retention import Retention
from service.settings import Part
from service.supervisor.status import Supervision, Unsupervised
from service.timers import Timer


def boot(
    control: Control,
    listen: Listen,
    environ: Mapping[str, str],
    new_id: NewId,
    with_children: bool = False,
) -> Services:
    """Run every check of the gateway over an opened state directory, and take up what is not over. Raises StartRefused.

    First all of it is read, and nothing changed; then is settled what ended while nobody looked.
    """
    check_exposure(control.settings, listen)
    adopt_bootstrap_tokens(control.storage, control.registry, control.keys, control.clock, new_id)
    check_operator(control.registry.live_roles(control.clock.now_ms()))
    restored = control.storage.read(partial(restore, boot_id=new_id("boot")))
    record(control.state.boot_trace, restored)
    expire_overdue(control.storage, control.clock.now_ms(), new_id)
    control.storage.do_now(settle_keys)
    settle_interrupted(control.storage, control.clock.now_ms(), new_id)
    settle_running(control.storage, control.clock.now_ms(), new_id)
    jitter = random.SystemRandom().random
    dependencies = open_dependencies(
        {each.name: each.url(environ) for each in BEHIND},
        control.links,
        control.settings,
        time.monotonic,
        jitter,
    )
    state, traces = control.state, Traces()
    for each in (state.traces, state.events):
        each.mkdir(mode=0o700, exist_ok=True)
    writer = TraceWriter(state.traces, state.events, control.settings.traces)
    traces.on_finished(writer.finished)
    traces.on_event(writer.happened)
    for name, dependency in dependencies.by_name.items():
        dependency.on_breaker(partial(_tell_of_breaker, traces, name))
    outbox = Outbox(
        control.storage, control.clock, dependencies.memory, control.settings.outbox, jitter
    )
    ingress = Ingress(control.settings.admission)
    retention = Retention(control, new_id)
    runner = Runner(control.storage, control.clock, dependencies.tools)
    slo = DegradeMode(
        control.storage,
        control.clock,
        control.state.settings,
        control.settings,
        control.storage.read(read_mode),
        new_id,
    )
    traces.on_finished(slo.finished)
    slo.on_change.append(lambda mode: traces.event("slo", TURNS, {"mode": mode.value}))
    worker = Worker(
        runner,
        dependencies.by_name["tools"],
        control.settings,
        new_id,
        lambda: slo.off(Part.TASKS),
        traces,
    )
    slo.on_change.append(lambda _: worker.wake())
    exporter = Exporter(state, writer.flush)
    slo.on_change.append(lambda mode: exporter.degraded() if mode is Mode.DEGRADED else None)
    services = Services(
        state=control.state,
        settings=control.settings,
        keys=control.keys,
        clock=control.clock,
        storage=control.storage,
        registry=control.registry,
        denied=DeniedAttempts(
            control.storage, control.clock, control.settings.auth.denied_audit_per_s
        ),
        dependencies=dependencies,
        outbox=outbox,
        ingress=ingress,
        runner=runner,
        worker=worker,
        timers=timers(
            control.clock,
            control.storage,
            control.registry,
            outbox.timer,
            ingress.timer,
            Timer("queues", LOOK_EVERY_S, partial(tell_of_queues, ingress, traces)),
            worker.timer,
            retention.timer,
            slo.timer,
            writer.timer,
        ),
        metrics=Metrics(),
        traces=traces,
        trace_writer=writer,
        exporter=exporter,
        new_id=new_id,
        new_secret=new_secret,
        verification=Shared(),
        searches=asyncio.Lock(),
        supervisor=_supervisor(control, environ, new_id) if with_children else Unsupervised(),
        slo=slo,
    )
    slo.send_canary = partial(send_canary, services)
    return services


def _tell_of_breaker(traces: Traces, name: str, state: BreakerState) -> None:
    traces.event("breaker", name, {"state": state.value})


def _supervisor(control: Control, environ: Mapping[str, str], new_id: NewId) -> Supervision:
    """What starts the other processes; it is imported by whoever has some."""
    from service.supervisor.supervisor import Supervisor  # noqa: PLC0415 - see above

    return Supervisor(
        control.storage,
        control.clock,
        control.settings.supervisor,
        control.state,
        environ,
        control.links,
        new_id,
        die,
    )
