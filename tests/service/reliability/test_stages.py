"""Percentiles of stages."""

from service.reliability.stages import FRESH_S, StageTimes
from service.reliability.tracing import Traces


def test_each_stage_has_its_percentiles() -> None:
    times, traces = StageTimes(60), Traces()
    assert times.over(0.0, 60) == {}
    for number in range(100):
        trace = traces.begin("req", "http")
        for name in ("memory", "model"):
            with trace.stage(name) as stage:
                stage.decide("answered")
        for stage in trace.stages:
            stage.took_us = 1000 if number < 94 else 200_000
        trace.took_us = 3000
        times.add(1.0, trace)
    # Anybody may ask, so they are found at most so often.
    assert times.over(0.1, 60) == {}
    found = times.over(FRESH_S, 60)
    assert {name: each.count for name, each in found.items()} == {
        "memory": 100,
        "model": 100,
        "turn": 100,
    }
    memory = found["memory"]
    assert [round(each, -1) for each in (memory.p50_ms * 100, memory.p95_ms, memory.p99_ms)] == [
        100,
        200,
        200,
    ]
