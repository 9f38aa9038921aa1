"""What can be known before anything runs: attributes that make no sense, proofs that cannot be carried."""

import msgspec
import pytest

from chaos.faults import FAULTS, impossible
from chaos.faults.bandwidth import Bandwidth
from chaos.faults.base import ByteRate, FaultStep
from chaos.faults.cut import Cut
from chaos.faults.latency import Latency
from chaos.faults.limit_data import LimitData
from chaos.faults.reset_peer import ResetPeer
from chaos.faults.slicer import Slicer
from chaos.faults.slow_close import SlowClose
from chaos.faults.timeout import Timeout
from chaos.spec.target import LinkSpec, Probe
from chaos.spec.units import Duration, Size

MS = Duration
BARE = LinkSpec(to="b")
PROBED = LinkSpec(to="b", probe=Probe(get="/readyz"))
BIG = LinkSpec(to="b", probe=Probe(post="/echo", body="x" * 9000))
KILOBYTES = ByteRate("10KB/s")

GOOD: list[FaultStep] = [
    Cut(cut="a->b"),
    Latency(latency="a->b", delay=MS("200ms"), jitter=MS("50ms")),
    Bandwidth(bandwidth="a->b", rate=KILOBYTES),
    SlowClose(slow_close="a->b", delay=MS("200ms")),
    Timeout(timeout="a->b"),
    Timeout(timeout="a->b", after=MS("2s")),
    ResetPeer(reset_peer="a->b"),
    Slicer(slicer="a->b", size=Size("100B"), delay=MS("10ms")),
    LimitData(limit_data="a->b", bytes=Size("100B")),
]


@pytest.mark.parametrize("step", GOOD, ids=lambda step: step.kind)
def test_sensible_fault_is_possible(step: FaultStep) -> None:
    assert impossible(step, PROBED) is None
    assert step.link == "a->b"
    assert FAULTS[step.kind] is type(step)


@pytest.mark.parametrize("step", GOOD, ids=lambda step: step.kind)
def test_without_a_probe_only_a_cut_can_be_proven(step: FaultStep) -> None:
    reason = impossible(step, BARE)
    assert (reason is None) == isinstance(step, Cut)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Cut(cut="a->b", direction="upstream"), "both directions"),
        (Latency(latency="a->b", delay=MS("5ms")), "25ms"),
        (Latency(latency="a->b", delay=MS("200.5ms")), "whole milliseconds"),
        (Latency(latency="a->b", delay=MS("2min")), "60s"),
        (Latency(latency="a->b", delay=MS("100ms"), jitter=MS("60ms")), "at most half"),
        (Latency(latency="a->b", delay=MS("100ms"), jitter=MS("0.5ms")), "whole milliseconds"),
        (SlowClose(slow_close="a->b", delay=MS("0ms")), "25ms"),
        (SlowClose(slow_close="a->b", delay=MS("1s"), direction="upstream"), "cannot be seen"),
        (Timeout(timeout="a->b", after=MS("10ms")), "0ms, or between"),
        (ResetPeer(reset_peer="a->b", after=MS("1ms")), "0ms, or between"),
        (Slicer(slicer="a->b", size=Size("0B"), delay=MS("10ms")), "at least 1B"),
        (Slicer(slicer="a->b", size=Size("10B"), delay=MS("0ms")), "cannot be seen"),
        (
            Slicer(slicer="a->b", size=Size("10B"), variation=Size("10B"), delay=MS("10ms")),
            "smaller than the size",
        ),
        (LimitData(limit_data="a->b", bytes=Size("10B"), direction="upstream"), "cannot be seen"),
        (Bandwidth(bandwidth="a->b", rate=KILOBYTES, direction="upstream"), "too small"),
        (
            Slicer(slicer="a->b", size=Size("100B"), delay=MS("10ms"), direction="upstream"),
            "does not make 10 slices",
        ),
    ],
)
def test_impossible_fault_says_why(step: FaultStep, reason: str) -> None:
    assert reason in (impossible(step, PROBED) or "")


@pytest.mark.parametrize("protocol", ["websocket", "tls", "tcp"])
@pytest.mark.parametrize("step", GOOD, ids=lambda step: step.kind)
def test_handshakes_and_bytes_show_what_they_can(step: FaultStep, protocol: str) -> None:
    probe = msgspec.convert({protocol: "x", "answer": "y" if protocol == "tcp" else None}, Probe)
    assert probe.problem() is None
    reason = impossible(step, LinkSpec(to="b", probe=probe))
    closed = isinstance(step, SlowClose) and protocol != "tcp"
    assert (reason is None) == (not closed)
    assert not closed or "after which no server closes" in (reason or "")


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        ({}, "exactly one method"),
        ({"get": "/", "head": "/"}, "exactly one method"),
        ({"get": "/", "answer": "x"}, "`answer` belongs to `tcp`"),
        ({"websocket": "/", "get": "/"}, "a probe with `websocket` has no get"),
        (
            {"websocket": "/", "tcp": "x", "answer": "y"},
            "a probe with `websocket` has no answer, tcp",
        ),
        ({"websocket": "/", "body": "x"}, "has no body"),
        ({"tls": "", "as": "someone"}, "a probe with `tls` has no as"),
        ({"tcp": "PING"}, "neither may be missing or empty"),
        ({"tcp": "", "answer": "x"}, "neither may be missing or empty"),
        ({"tcp": "PING", "answer": "\u0100"}, "is a byte"),
        ({"tcp": "PING", "answer": "x", "headers": {}}, "has no headers"),
    ],
)
def test_what_is_no_probe(probe: dict[str, object], problem: str) -> None:
    assert problem in (msgspec.convert(probe, Probe).problem() or "")


def test_request_that_is_large_enough_carries_upstream_faults() -> None:
    assert (
        impossible(Bandwidth(bandwidth="a->b", rate=KILOBYTES, direction="upstream"), BIG) is None
    )
    slicer = Slicer(slicer="a->b", size=Size("100B"), delay=MS("10ms"), direction="upstream")
    assert impossible(slicer, BIG) is None


@pytest.mark.parametrize("step", GOOD, ids=lambda step: step.kind)
def test_probe_must_leave_the_connection_header_to_the_proof(step: FaultStep) -> None:
    probe = Probe(get="/", headers={"connection": "close"})
    reason = impossible(step, LinkSpec(to="b", probe=probe))
    assert isinstance(step, Cut) or "Connection header" in (reason or "")


@pytest.mark.parametrize("kind", ["bandwidth", "slicer", "limit_data"])
def test_answer_without_a_body_carries_no_bytes(kind: str) -> None:
    step = next(step for step in GOOD if step.kind == kind)
    assert "HEAD" in (impossible(step, LinkSpec(to="b", probe=Probe(head="/"))) or "")


@pytest.mark.parametrize("text", ["0KB/s", "1.5KB/s", "10KB", "10 KB/s", "-1KB/s", "10B/s"])
def test_rate_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="10KB/s"):
        ByteRate(text)


def test_toxics_are_in_the_units_of_toxiproxy() -> None:
    assert [step.toxic() for step in GOOD] == [
        None,
        ("latency", {"latency": 200, "jitter": 50}),
        ("bandwidth", {"rate": 10}),
        ("slow_close", {"delay": 200}),
        ("timeout", {"timeout": 0}),
        ("timeout", {"timeout": 2000}),
        ("reset_peer", {"timeout": 0}),
        ("slicer", {"average_size": 100, "size_variation": 0, "delay": 10_000}),
        ("limit_data", {"bytes": 100}),
    ]
    assert ByteRate("2MB/s").kb_per_s == 2000
