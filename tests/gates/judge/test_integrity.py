"""A run counts only when it is the one run, complete, sealed and as planned."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos.evidence.recorder import as_json
from chaos.evidence.sealing import Loader
from gates.judge import integrity
from gates.judge.connection import Evidence
from gates.judge.result import GateVerdict
from gates.spec.assertion import Judged
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

NewRun = Callable[..., Run]
Live = tuple[Evidence, Loader]
FINE = assertion(every="status = 200")
SPEC = judged(FINE)


@pytest.fixture
def verdict(live: Live) -> Callable[..., GateVerdict]:
    evidence, loader = live

    def judge(*directories: Path, spec: Judged = SPEC, run_id: str | None = None) -> GateVerdict:
        loader.load(directories)
        evidence.refresh()
        return verdict_of(evidence, spec, run_id=run_id)

    return judge


def begun(new_run: NewRun, *planned: str, **changes: object) -> Run:
    run = new_run().begin(planned=planned, **changes)
    for _ in range(20):
        run.request()
    return run


def test_a_complete_run_passes(plain_run: Path, verdict: Callable[..., GateVerdict]) -> None:
    found = verdict(plain_run)
    assert (found.status, found.detail, found.findings) == ("PASS", "1 assertions hold", [])
    assert (found.gate, found.id, found.run_id, found.mode) == ("demo", "X1", "run-1", "healthy")


def test_without_a_run_nothing_is_known(verdict: Callable[..., GateVerdict]) -> None:
    found = verdict()
    assert found.status == "UNKNOWN"
    assert "expected one healthy run of demo, and there are 0" in found.detail


def test_evidence_of_another_gate_is_none(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    assert verdict(new_run(gate="other").plain().close()).status == "UNKNOWN"


def test_two_healthy_runs_are_one_too_many(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    runs = [new_run(run_id=f"run-{n}").plain().close() for n in (1, 2)]
    found = verdict(*runs)
    assert (found.status, "there are 2" in found.detail) == ("UNKNOWN", True)
    assert verdict(*runs, run_id="run-2").status == "PASS"


def test_a_defective_run_is_no_healthy_one_but_can_be_asked_for(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = (
        begun(new_run, "control.0", mode="defect", defect="a defect")
        .step("control.0")
        .end()
        .close()
    )
    assert verdict(run).status == "UNKNOWN"
    found = verdict(run, run_id="run-1")
    assert (found.status, found.mode) == ("PASS", "defect")


@pytest.mark.parametrize("end_state", ["interrupted", "broken"])
def test_a_run_that_was_not_completed_is_unknown(
    new_run: NewRun, verdict: Callable[..., GateVerdict], end_state: str
) -> None:
    run = (
        begun(new_run, "control.0")
        .step("control.0")
        .end(end_state=end_state, end_detail="toxiproxy died")
        .close()
    )
    found = verdict(run)
    assert (found.status, f"{end_state}: toxiproxy died" in found.detail) == ("UNKNOWN", True)


def test_a_run_without_an_end_is_unknown(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    assert (
        "the run has no end"
        in verdict(begun(new_run, "control.0").step("control.0").close()).detail
    )


def test_a_run_without_a_closing_record_is_unknown(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    directory = new_run().plain().close()
    (directory / "closings.jsonl").unlink()
    found = verdict(directory)
    assert (found.status, "closings.jsonl: it is missing" in found.detail) == ("UNKNOWN", True)


@pytest.mark.parametrize(
    "file", ["requests.jsonl", "responses.jsonl", "steps.jsonl", "runs.jsonl", "run_ends.jsonl"]
)
def test_a_truncated_file_is_unknown(
    plain_run: Path, verdict: Callable[..., GateVerdict], file: str
) -> None:
    path = plain_run / file
    path.write_bytes(path.read_bytes()[:-5])
    assert verdict(plain_run).status == "UNKNOWN"


def test_a_closing_that_was_tampered_with_is_unknown(
    plain_run: Path, verdict: Callable[..., GateVerdict]
) -> None:
    path = plain_run / "closings.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"lines":20', b'"lines":21'))
    found = verdict(plain_run)
    assert (found.status, "it is not what was closed" in found.detail) == ("UNKNOWN", True)


@pytest.mark.parametrize("drift_ms", [51.0, -51.0])
def test_a_clock_that_moved_is_unknown(
    new_run: NewRun, verdict: Callable[..., GateVerdict], drift_ms: float
) -> None:
    run = begun(new_run, "control.0").step("control.0").end(clock_drift_ms=drift_ms).close()
    assert "the wall clock moved" in verdict(run).detail


def test_another_version_of_the_gate_is_unknown(
    plain_run: Path, verdict: Callable[..., GateVerdict]
) -> None:
    assert verdict(plain_run, spec=judged(FINE, spec_sha256="g1")).status == "PASS"
    assert verdict(plain_run, spec=judged(FINE, spec_sha256="g2")).status == "UNKNOWN"


@pytest.mark.parametrize(
    ("step", "outcome", "status"),
    [
        ("scenario.0", "failed", "FAIL"),
        ("scenario.0", "error", "UNKNOWN"),
        ("scenario.0", "skipped", "UNKNOWN"),
        ("control.0", "failed", "UNKNOWN"),
        ("control.0", "error", "UNKNOWN"),
    ],
)
def test_outcomes_of_steps(
    new_run: NewRun, verdict: Callable[..., GateVerdict], step: str, outcome: str, status: str
) -> None:
    run = begun(new_run, "control.0", "scenario.0")
    for other in {"control.0", "scenario.0"} - {step}:
        run.step(other)
    found = verdict(run.step(step, outcome, detail="expected 200, got 503").end().close())
    assert (found.status, "expected 200, got 503" in found.detail) == (status, True)


def test_a_failed_step_is_not_hidden_by_what_is_unknown(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = (
        begun(new_run, "control.0", "scenario.0")
        .step("control.0", "error")
        .step("scenario.0", "failed")
    )
    found = verdict(run.end().close())
    assert found.status == "FAIL"
    assert found.detail.startswith("step: scenario.0 (request) failed")


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (["control.0"], "UNKNOWN"),
        (["control.0", "scenario.0"], "PASS"),
        (["control.0", "scenario.0", "scenario.0"], "UNKNOWN"),
        (["control.0", "scenario.0", "scenario.1"], "UNKNOWN"),
    ],
)
def test_every_planned_step_ends_once(
    new_run: NewRun, verdict: Callable[..., GateVerdict], ended: list[str], status: str
) -> None:
    run = begun(new_run, "control.0", "scenario.0")
    for step in ended:
        run.step(step)
    assert verdict(run.end().close()).status == status


def test_no_planned_steps_are_unknown(new_run: NewRun, verdict: Callable[..., GateVerdict]) -> None:
    assert "no steps were planned" in verdict(begun(new_run).end().close()).detail


@pytest.mark.parametrize(
    ("inner", "innermost", "status"),
    [(3, 6, "PASS"), (2, 6, "UNKNOWN"), (3, 5, "UNKNOWN"), (3, 7, "UNKNOWN")],
)
def test_steps_inside_end_as_often_as_what_they_stand_in(
    new_run: NewRun, verdict: Callable[..., GateVerdict], inner: int, innermost: int, status: str
) -> None:
    run = begun(new_run, "scenario.0", "scenario.0.steps.0", "scenario.0.steps.0.steps.0")
    run.step("scenario.0", iterations=3)
    for _ in range(inner):
        run.step("scenario.0.steps.0", iterations=2)
    for _ in range(innermost):
        run.step("scenario.0.steps.0.steps.0")
    assert verdict(run.end().close()).status == status


def test_a_step_that_was_repeated_no_times_is_unknown_or_has_nothing_inside(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = begun(new_run, "scenario.0", "scenario.0.steps.0").step("scenario.0", iterations=0)
    assert verdict(run.step("scenario.0.steps.0").end().close()).status == "UNKNOWN"


def test_what_stands_in_a_skipped_step_need_not_have_ended(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = begun(new_run, "scenario.0", "scenario.1", "scenario.1.steps.0")
    run.step("scenario.0", "failed").step("scenario.1", "skipped")
    found = verdict(run.end().close())
    assert [finding.message for finding in found.findings] == [
        "scenario.0 (request) failed",
        "scenario.1 (request) skipped",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"sent": 19}, "sent 19 of 20 planned requests"),
        ({"planned": 0, "sent": 0}, "planned nothing"),
        ({"problem": "the client died"}, "the client died"),
        ({"late_p99_ms": 31.0}, "31.0 ms late"),
        ({"planned": 21, "sent": 21}, "sent 21 requests, of which 20 are recorded"),
    ],
)
def test_loads_are_valid_or_unknown(
    new_run: NewRun,
    verdict: Callable[..., GateVerdict],
    changes: dict[str, object],
    message: str | None,
) -> None:
    run = new_run().load("turns", 20, **changes).plain(20, load="turns")
    spec = judged(
        FINE, assertion(that="fast", value="max(latency_ms)", is_="< 300"), loads=["turns"]
    )
    found = verdict(run.close(), spec=spec)
    assert found.status == ("UNKNOWN" if message else "PASS")
    assert message is None or message in found.detail


def test_lateness_matters_only_where_latency_is_limited(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = new_run().load("turns", 20, late_p99_ms=31.0).plain(20, load="turns")
    assert verdict(run.close(), spec=judged(FINE, loads=["turns"])).status == "PASS"


def test_a_planned_load_without_a_row_is_unknown(
    plain_run: Path, verdict: Callable[..., GateVerdict]
) -> None:
    assert (
        "nothing was recorded of the load turns"
        in verdict(plain_run, spec=judged(FINE, loads=["turns"])).detail
    )


def test_a_gate_without_assertions_is_unknown(
    plain_run: Path, verdict: Callable[..., GateVerdict]
) -> None:
    found = verdict(plain_run, spec=judged())
    assert (found.status, "there are no assertions" in found.detail) == ("UNKNOWN", True)


def test_a_gate_that_rests_on_the_systems_word_only_is_unknown(
    plain_run: Path, verdict: Callable[..., GateVerdict]
) -> None:
    inside = assertion(from_="steps", at_least=1, every="outcome = 'ok'")
    found = verdict(plain_run, spec=judged(inside))
    assert (found.status, "observed from outside" in found.detail) == ("UNKNOWN", True)


def test_a_judge_that_breaks_passes_nothing(
    plain_run: Path, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence, loader = live
    loader.load([plain_run])
    evidence.refresh()

    def broken(*_: object) -> None:
        raise RuntimeError("the judge is ill")

    with monkeypatch.context() as patched:
        patched.setattr(integrity, "findings", broken)
        found = verdict_of(evidence, SPEC)
    assert (found.status, found.detail) == (
        "UNKNOWN",
        "judge: judging failed: the judge is ill",
    )


def test_the_verdict_is_the_same_every_time(
    plain_run: Path, verdict: Callable[..., GateVerdict]
) -> None:
    encoded = {msgspec.json.encode(verdict(plain_run)) for _ in range(3)}
    assert len(encoded) == 1


def test_digests_that_all_runs_share_must_be_equal_and_shipped(new_run: NewRun, live: Live) -> None:
    evidence, loader = live

    def run(gate: str, run_id: str, harness: str, mode: str = "healthy") -> Path:
        digests = as_json({"gate": gate, "harness": harness})
        return new_run(gate=gate, run_id=run_id).begin(digests=digests, mode=mode).end().close()

    loader.load([run("a", "1", "h1"), run("b", "2", "h1"), run("b", "3", "h9", mode="defect")])
    evidence.refresh()
    assert integrity.release_problems(evidence, {"harness": "h1"}) == []
    assert integrity.release_problems(evidence, {"harness": "h2"}) == [
        "harness of toy is not what is shipped"
    ]
    loader.load([run("c", "4", "h1"), run("d", "5", "h2")])
    evidence.refresh()
    assert integrity.release_problems(evidence, {}) == [
        "harness of toy is not the same in all runs: c and d differ"
    ]
