"""The verdict right after a run is the one that its sealed evidence gives."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from chaos.evidence.sealing import seal
from chaos.faults import SIGNATURES
from gates.judge.connection import Evidence, open_release
from gates.judge.result import GateVerdict
from gates.judge.verdict import judge_gate
from gates.run.judging import RunJudge
from gates.spec.assertion import Judged, Named
from tests.gates.judge.runs import Run, assertion, judged

NONE = Path("/nonexistent")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunJudge]:
    """One for run after run, as a worker has it."""
    made = RunJudge([tmp_path_factory.getbasetemp()], {})
    yield made
    made.close()


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Run]:
    return lambda **names: Run(tmp_path / "runs", **names)


def sealed(directory: Path) -> Evidence:
    release = directory.parent.parent.parent / f"release-{directory.parent.name}"
    seal([directory], release, {})
    return open_release(release, {})


def sealed_verdict(directory: Path, spec: Judged) -> GateVerdict:
    return judge_gate(sealed(directory), spec, SIGNATURES)


def plain(run: Run) -> Run:
    return run.plain(5)


def failing(run: Run) -> Run:
    return run.plain(4, status=503)


def without_an_end(run: Run) -> Run:
    return run.begin().step("control.0").step("scenario.0").request()


def with_a_failed_step(run: Run) -> Run:
    return run.begin().step("control.0").step("scenario.0", "failed", detail="no").request().end()


def with_an_unplanned_step(run: Run) -> Run:
    return run.plain(2).step("scenario.9")


def of_another_gate_version(run: Run) -> Run:
    return run.begin(digests=msgspec.Raw(b'{"gate":"g0"}')).request().end()


def with_a_fault(run: Run) -> Run:
    return run.fault().plain(5)


def with_a_load(run: Run) -> Run:
    return run.load("turns", 3).plain(3)


def with_a_long_number(run: Run) -> Run:
    return run.plain(2).request(response={"id": 2**65})


SHAPES = [
    plain,
    failing,
    without_an_end,
    with_a_failed_step,
    with_an_unplanned_step,
    of_another_gate_version,
    with_a_fault,
    with_a_load,
    with_a_long_number,
]
DIRECT = assertion(every="status = 200", at_least=1)
VALUE = assertion(that="n", value="count(*)", is_=">= 1", at_least=1)
STEPS = assertion(that="steps", from_="steps", every="outcome = 'ok'", at_least=1)
JOINED = assertion(that="joined", from_="w", none="outcome <> 'ok'", at_least=1)
QUERY = {"w": Named(query="select seq, outcome from requests where status = 200", at_least=1)}


SPECS = {
    "rows": judged(DIRECT),
    "a value and steps": judged(VALUE, STEPS, spec_sha256="g1"),
    "a query": judged(DIRECT, JOINED, with_=QUERY),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_both_verdicts_are_the_same(
    new_run: Callable[..., Run], judge: RunJudge, shape: Callable[[Run], Run]
) -> None:
    directory = shape(new_run()).close()
    evidence = sealed(directory)
    for name, spec in SPECS.items():
        later = judge_gate(evidence, spec, SIGNATURES)
        assert judge.judge(directory, NONE, spec) == later, name


def test_nothing_of_one_run_is_seen_in_the_next(
    new_run: Callable[..., Run], judge: RunJudge
) -> None:
    spec = judged(assertion(that="n", value="count(*)", is_="= 2", at_least=2))
    for number, count in enumerate((2, 5, 2, 2)):
        directory = new_run(run_id=f"run-{number}").plain(count).close()
        assert judge.judge(directory, NONE, spec) == sealed_verdict(directory, spec)


def test_a_run_that_is_not_closed_or_was_changed_is_unknown(
    new_run: Callable[..., Run], judge: RunJudge
) -> None:
    directory = new_run().plain(3, status=500).close()
    path = directory / "responses.jsonl"
    path.write_bytes(path.read_bytes().replace(b"500", b"200"))
    changed = judge.judge(directory, NONE, judged(DIRECT))
    assert (changed.status, changed.findings[0].source) == ("UNKNOWN", "seal")
    (directory / "closings.jsonl").unlink()
    assert judge.judge(directory, NONE, judged(DIRECT)).status == "UNKNOWN"


def test_only_a_healthy_run_is_judged_unless_it_is_named(
    new_run: Callable[..., Run], judge: RunJudge
) -> None:
    directory = new_run().begin(mode="defect", defect="x").step("control.0").request().end().close()
    assert judge.judge(directory, NONE, judged(DIRECT)).run_id is None
    assert judge.judge(directory, NONE, judged(DIRECT), "run-1").run_id == "run-1"


def test_what_a_run_that_broke_off_did_not_collect_is_not_looked_for(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    collected = {"audit": {"action": "VARCHAR"}}
    directory = without_an_end(new_run()).close()
    spec = judged(
        DIRECT, assertion(that="a", from_="audit", every="action = 'x'"), collected=collected
    )
    verdict = RunJudge([tmp_path], collected).judge(directory, NONE, spec)
    assert (verdict.status, verdict.run_id) == ("UNKNOWN", "run-1")
    assert verdict.detail.startswith("run: the run has no end")
