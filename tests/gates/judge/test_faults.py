"""Faults count only when their probes prove them again and the target's own traffic met them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.evidence.schema import LinkProbe
from chaos.evidence.sealing import Loader
from chaos.faults import SIGNATURES
from gates.judge.connection import Evidence
from gates.judge.faults import Signatures
from gates.judge.result import GateVerdict
from tests.gates.judge.runs import PROVEN, UNPROVEN, Run, Signature, assertion, judged, verdict_of

NewRun = Callable[..., Run]
Judge = Callable[..., GateVerdict]
SPEC = judged(assertion(every="status = 200"), faults=["outage"])


@pytest.fixture
def verdict(live: tuple[Evidence, Loader]) -> Judge:
    evidence, loader = live

    def judge(
        directory: Path,
        signatures: Signatures = PROVEN,
        run_id: str | None = None,
        beside: Path | None = None,
    ) -> GateVerdict:
        loader.load([directory, *([beside] if beside else [])])
        evidence.refresh()
        return verdict_of(evidence, SPEC, signatures, run_id)

    return judge


def probed(run: Run) -> Run:
    for phase in ("before", "start", "end", "after"):
        run.probe(phase).probe(phase, path="direct")
    return run


def carried(run: Run, connections: int = 1, sent: int = 10) -> Run:
    return run.carried(own_connections=connections, sent_bytes=sent, received_bytes=0)


def faulted(new_run: NewRun, **changes: object) -> Run:
    return carried(met(probed(new_run().connected().fault(**changes))))


def met(run: Run, at_ms: float = 150.0) -> Run:
    """A turn that is asked for inside of the fault, to where its link begins."""
    return run.request(sent_ms=at_ms, done_ms=at_ms + 1.0)


def test_a_proven_fault_is_reported_with_its_times(new_run: NewRun, verdict: Judge) -> None:
    found = verdict(faulted(new_run, attributes=as_json({"latency": 200})).plain().close())
    assert found.status == "PASS"
    (fault,) = found.faults
    assert (fault.fault, fault.kind, fault.link, fault.proven, fault.why) == (
        "outage",
        "cut",
        "gateway->memory",
        True,
        None,
    )
    assert (fault.attributes, fault.on_ms, fault.clean_ms, fault.own_before) == (
        {"latency": 200},
        100.0,
        210.0,
        1,
    )


def test_the_proof_is_computed_again_from_the_probes(new_run: NewRun, verdict: Judge) -> None:
    directory = faulted(new_run).plain().close()
    found = verdict(directory, UNPROVEN)
    assert (found.status, "outage: no probes were looked at" in found.detail) == ("UNKNOWN", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proven": False, "why": "no refusal was seen"}, "no refusal was seen"),
        ({"proven": False, "why": None}, "recorded as not proven"),
        ({"proven_ms": None}, "no time from which it was proven"),
        ({"proven_ms": 99.0}, "no time from which it was proven"),
        ({"off_ms": None}, "never asked off"),
        ({"off_ms": 105.0}, "never asked off"),
        ({"clean_ms": None}, "not seen clean again"),
        ({"kind": "gremlins"}, "nothing is known about proving a gremlins"),
        ({"own_before": 0}, "no connection of the target's own"),
        ({"link": "gateway->model"}, "its probes are of another link"),
    ],
)
def test_what_is_recorded_must_be_a_whole_fault(
    new_run: NewRun, verdict: Judge, changes: dict[str, object], message: str
) -> None:
    found = verdict(faulted(new_run, **changes).plain().close())
    assert (found.status, found.faults[0].proven) == ("UNKNOWN", False)
    assert message in found.detail


def test_a_planned_fault_without_a_row_is_unknown(plain_run: Path, verdict: Judge) -> None:
    found = verdict(plain_run)
    assert (found.status, "nothing was recorded of it" in found.detail) == ("UNKNOWN", True)


def test_a_fault_without_probes_is_unknown(new_run: NewRun, verdict: Judge) -> None:
    assert "it has no probes" in verdict(new_run().connected().fault().plain().close()).detail


def test_a_fault_that_was_not_planned_must_be_proven_too(new_run: NewRun, verdict: Judge) -> None:
    found = verdict(faulted(new_run).fault("another", proven=False, why="nothing").plain().close())
    assert [fault.proven for fault in found.faults] == [True, False]
    assert found.status == "UNKNOWN"


@pytest.mark.parametrize(("at_ms", "own"), [(150.0, True), (100.0, True), (50.0, False)])
def test_the_targets_own_traffic_must_have_been_there_before(
    new_run: NewRun, verdict: Judge, at_ms: float, own: bool
) -> None:
    run = probed(new_run().connected(at_ms=at_ms, own=own).fault())
    assert "no connection of the target's own" in verdict(run.plain().close()).detail


def test_a_connection_past_the_link_is_unknown(new_run: NewRun, verdict: Judge) -> None:
    run = faulted(new_run)
    run.recorder.add(
        schema.LinkBypass,
        link="gateway->memory",
        client="127.0.0.1:9",
        process="gateway",
        bypass_ms=1.0,
    )
    assert "went past the link, the first from gateway" in verdict(run.plain().close()).detail


@pytest.mark.parametrize(
    ("connections", "sent", "proven"), [(0, 10, False), (1, 0, False), (1, 10, True)]
)
def test_a_link_that_carried_nothing_when_all_was_well_is_unknown(
    new_run: NewRun, verdict: Judge, connections: int, sent: int, proven: bool
) -> None:
    exercise = carried(new_run(gate="exercise-toy", run_id="run-2").begin(), connections, sent)
    found = verdict(faulted(new_run).plain().close(), beside=exercise.end().close())
    assert found.faults[0].proven == proven


def test_a_link_that_was_never_exercised_is_unknown(new_run: NewRun, verdict: Judge) -> None:
    found = verdict(probed(new_run().connected().fault()).plain().close())
    assert "no evidence that the link carries anything" in found.detail


def test_every_window_of_a_repeated_fault_needs_its_own_proof(
    new_run: NewRun, verdict: Judge
) -> None:
    seen: list[list[str]] = []

    def note(_attributes: Mapping[str, float], probes: Sequence[LinkProbe]) -> str | None:
        seen.append([probe.phase for probe in probes])
        return None if len(seen) < 2 else "not the second time"

    run = carried(probed(probed(new_run().connected()).fault())).fault(
        on_ms=300.0, proven_ms=301.0, off_ms=302.0, clean_ms=303.0
    )
    found = verdict(met(met(run), 301.0).plain().close(), {"cut": Signature(note)})
    assert [fault.proven for fault in found.faults] == [True, False]
    assert seen == [["before"] * 2 + ["start"] * 2 + ["end"] * 2 + ["after"] * 2] * 2


def test_the_path_must_be_clean_again_by_its_probes(new_run: NewRun, verdict: Judge) -> None:
    still = {"cut": Signature(clean_again=lambda _, __: "still refused")}
    found = verdict(faulted(new_run).plain().close(), still)
    assert "after the fault: still refused" in found.detail


def test_a_sham_is_never_proven_but_its_assertions_are_judged(
    new_run: NewRun, verdict: Judge
) -> None:
    run = probed(
        new_run().connected().fault(proven=False, proven_ms=100.0, why="sham: nothing was injected")
    )
    run.begin(mode="sham")
    for number in range(20):
        run.request(status=500, sent_ms=110.0 + number, done_ms=111.0 + number)
    directory = run.step("control.0").step("scenario.0").end().close()
    found = verdict(directory, run_id="run-1")
    assert (found.status, found.assertions[0].status) == ("FAIL", "FAIL")


def test_the_real_signatures_judge_real_probes(new_run: NewRun, verdict: Judge) -> None:
    found = verdict(faulted(new_run).plain().close(), SIGNATURES)
    assert (found.status, found.faults[0].proven) == ("UNKNOWN", False)
