"""The lines of segments and bundles: one format, which whoever writes and whoever reads them has from here."""

import msgspec

from service.reliability.tracing import Input, Stage, Trace, trace_class

FORMAT = 1
OMITTED = "omitted_bytes"
"""In the envelope of a request that was too long to be recorded: how long it was."""


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is over. `began_ms` is milliseconds since the epoch; `envelope` what was asked, as far as it was understood."""

    request_id: str
    began_ms: float
    kind: str
    method: str
    route: str
    actor_id: str
    role: str
    queue: str | None
    envelope: dict[str, object]
    outcome: str
    status: int
    code: str = ""
    took_us: int
    trace_class: str


class TraceLine(RequestLine, frozen=True, kw_only=True):
    """A request with its stages: a line of a segment."""

    decisions: list[Stage]


class DecisionLine(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a request: a line of a bundle. `n` counts the stages of a request from 0, `at_ms` is since the epoch."""

    request_id: str
    n: int
    stage: str
    decision: str
    reason: str
    began_us: int
    took_us: int
    at_ms: float
    inputs: list[Input]


def line_of(trace: Trace) -> TraceLine:
    """A finished trace as a line."""
    stages = trace.stages
    return TraceLine(
        request_id=trace.request_id,
        began_ms=trace.began_ms,
        kind=trace.kind,
        method=trace.method,
        route=trace.route,
        actor_id=trace.actor_id,
        role=trace.role,
        queue=trace.queue,
        envelope=trace.envelope,
        outcome=trace.outcome,
        status=trace.status,
        code=trace.code,
        took_us=trace.took_us,
        trace_class=trace_class(
            tuple([(each.name, each.decision, each.reason) for each in stages])
        ),
        decisions=stages,
    )
