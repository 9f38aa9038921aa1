"""A fault counts only where the target's own traffic met it while it was proven to be on."""

from collections.abc import Callable

import pytest

from chaos.evidence import schema
from chaos.evidence.recorder import NULL, as_json
from chaos.evidence.sealing import Loader
from gates.judge.connection import Evidence
from tests.gates.judge.runs import Run, Signature, assertion, judged, verdict_of

NewRun = Callable[..., Run]
Change = Callable[[Run], object]
Whys = Callable[..., dict[str, str | None]]
SPEC = judged(assertion(every="status = 200"), faults=["cut", "latency"])
KINDS = {"cut": Signature(refuses=True), "latency": Signature(refuses=False)}
LINKS = ("gateway->memory", "client->gateway", "edge->front", "front->gateway")
BOTH = tuple(KINDS)


def framed(run: Run, kind: str, at_ms: float, link: str | None, process: str = "memory") -> None:
    run.recorder.add(
        schema.Frame,
        stream="talk",
        vars=as_json({}),
        actor=None,
        direction="in",
        kind=kind,
        size=1,
        code=None,
        headers=NULL,
        json=NULL,
        frame_ms=at_ms,
        link=link,
        process=process,
    )


def flow(run: Run, from_ms: float, to_ms: float, **changes: object) -> None:
    """The same of either fault."""
    for kind in KINDS:
        run.flow(from_ms=from_ms, to_ms=to_ms, **({"fault": kind} | changes))


@pytest.fixture
def whys(new_run: NewRun, live: tuple[Evidence, Loader]) -> Whys:
    """Why faults that are proven from 110 to 200 ms count for nothing in a run with so much more in it, by their kind."""
    evidence, loader = live

    def judge(change: Change, *, followed: bool = True) -> dict[str, str | None]:
        run = new_run().connected()
        for kind in KINDS:
            run.fault(kind, kind=kind, followed=followed)
            for phase in ("before", "start", "end", "after"):
                run.probe(phase, fault=kind).probe(phase, fault=kind, path="direct")
        for link in LINKS:
            run.carried(link=link)
        change(run)
        # None of these is sent later than at 29 ms.
        loader.load([run.plain(link="gateway->memory", process="memory").close()])
        evidence.refresh()
        faults = verdict_of(evidence, SPEC, KINDS).faults
        assert all(fault.proven == (fault.why is None) for fault in faults)
        return {fault.kind: fault.why for fault in faults}

    return judge


def test_a_fault_after_the_traffic_has_ended_is_unknown(whys: Whys) -> None:
    for reason in whys(lambda run: run).values():
        assert reason is not None
        assert "nothing of the target's own met it" in reason
        assert "from 110 to 200 ms" in reason
        assert "between the fault and its `clear`" in reason


MEETS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "a connection accepted inside": (lambda run: run.connected(at_ms=150.0), ("latency",)),
    "accepted at the very edges": (
        lambda r: r.connected(at_ms=200.0, after_ms=110.0),
        ("latency",),
    ),
    "bytes from the client": (lambda run: flow(run, 110, 200, sent_bytes=1), ("latency",)),
    "bytes to the client": (
        lambda run: flow(run, 111, 199, received_bytes=2),
        ("latency",),
    ),
    "an answer over the link": (
        lambda run: run.request(link="gateway->memory", sent_ms=120.0, done_ms=190.0),
        BOTH,
    ),
    "a frame over the link": (
        lambda run: framed(run, "text", 150.0, "gateway->memory"),
        ("latency",),
    ),
    "an open connection that was ended": (
        lambda run: flow(run, 99.0, 111.0, ended=True),
        ("cut",),
    ),
    "a request over the link without an answer": (
        lambda run: run.request(answered=False, link="gateway->memory", sent_ms=120.0),
        ("cut",),
    ),
    "a request to where the link begins": (lambda run: run.request(sent_ms=200.0), ("cut",)),
    "a request over a link that leads there": (
        lambda run: run.request(link="edge->front", process="front", sent_ms=120.0),
        ("cut",),
    ),
    "a request to where such a link begins": (
        lambda run: run.request(process="edge", sent_ms=120.0),
        ("cut",),
    ),
    "a stream that was refused": (
        lambda r: framed(r, "refused", 150.0, "gateway->memory"),
        ("cut",),
    ),
    "a stream to where the link begins": (
        lambda r: framed(r, "open", 150.0, None, "gateway"),
        ("cut",),
    ),
}


@pytest.mark.parametrize("how", MEETS)
def test_what_meets_a_fault(whys: Whys, how: str) -> None:
    change, kinds = MEETS[how]
    assert tuple(kind for kind, why in whys(change).items() if why is None) == kinds


MISSES: dict[str, Change] = {
    "before it was proven": lambda run: run.connected(at_ms=109.0),
    "perhaps before it was proven": lambda run: run.connected(at_ms=150.0, after_ms=109.9),
    "perhaps after its end": lambda run: run.connected(at_ms=200.1, after_ms=150.0),
    "a probe": lambda run: run.connected(at_ms=150.0, own=False),
    "no bytes": lambda run: flow(run, 110.0, 200.0),
    "nothing but an end": lambda run: flow(run, 110, 200, received_bytes=1, ended=True),
    "bytes perhaps before": lambda run: flow(run, 109, 200, sent_bytes=9),
    "bytes perhaps after": lambda run: flow(run, 110, 201, sent_bytes=9),
    "bytes in another fault": lambda run: flow(run, 110, 200, sent_bytes=9, fault="two"),
    "bytes on another link": lambda run: flow(run, 110, 200, sent_bytes=9, link="a->b"),
    "ended before": lambda run: flow(run, 90.0, 99.0, ended=True),
    "opened and ended inside": lambda run: flow(run, 101.0, 150.0, ended=True),
    "asked for before": lambda r: r.request(link="gateway->memory", sent_ms=109.0, done_ms=201.0),
    "asked for afterwards": lambda r: r.request(
        link="gateway->memory", sent_ms=201.0, done_ms=202.0
    ),
    "asked for past the link": lambda run: run.request(process="memory", sent_ms=150.0),
    "asked for elsewhere": lambda run: run.request(process="model", sent_ms=150.0),
    "a frame afterwards": lambda run: framed(run, "text", 201.0, "gateway->memory"),
    "a stream past the link": lambda run: framed(run, "refused", 150.0, None),
}


@pytest.mark.parametrize("how", MISSES)
def test_what_does_not_meet_a_fault(whys: Whys, how: str) -> None:
    assert all("met it" in (why or "") for why in whys(MISSES[how]).values())


def test_it_is_said_where_nobody_counted(whys: Whys) -> None:
    found = whys(lambda run: run, followed=False)
    assert "the kernel did not count them" in (found["latency"] or "")
