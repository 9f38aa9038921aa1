"""Somebody repeats a gate until it is green: what may be repeated follows from the evidence of each attempt."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos.faults import SIGNATURES
from gates.judge.verdict import judge_attempts
from gates.prove.kept import FOLDER
from gates.prove.proving import kept_of, ship
from gates.release.conclude import conclude
from gates.release.rejudge import rejudge
from gates.release.report import GateReport, Report
from gates.release.stages import judge_directory
from gates.verify.verify import Expected, verify
from tests.builders.small_release import SmallRelease
from tests.gates.tampering import close_again, edit_table

SLOW, RED, GREEN, CUT_OFF = "slow", "red", "green", "cut off"
"""An attempt: UNKNOWN by the host, FAIL, PASS, and UNKNOWN for another reason."""


class Repeated(SmallRelease):
    """A release whose gate `first` has these attempts, and the other gate one that is green."""

    def made(self, *attempts: str, numbers: tuple[int, ...] = (), prove: bool = True) -> Report:
        session, specs = self.session()
        for name in session.gates:
            own = attempts if name == "first" else (GREEN,)
            for place, (number, kind) in enumerate(zip(numbers or range(1, 9), own, strict=False)):
                directory = session.gate_directory(name, 0, place + 1)
                status = 500 if kind == RED else 200
                self.record(
                    directory, session, specs, specs.gates[name], status,
                    attempt=number, drift_ms=80.0 if kind == SLOW else 0.1,
                )  # fmt: skip
                if kind == CUT_OFF:
                    (directory / "closings.jsonl").unlink()
        if prove:
            self.prove(session, specs)
        ship(kept_of(session, specs, self.store), session, specs, session.path / FOLDER)
        return conclude(session, self.releases, interrupted=False)[0]


def first_of(report: Report) -> GateReport:
    return next(gate for gate in report.gates if gate.name == "first")


@pytest.fixture
def project(tmp_path: Path) -> Repeated:
    return Repeated(tmp_path / "shop")


@pytest.mark.parametrize("slow", [1, 2])
def test_a_host_that_was_slow_is_waited_for(project: Repeated, slow: int) -> None:
    report = project.made(*[SLOW] * slow, GREEN)
    assert (report.verdict, first_of(report).status) == ("PROMOTE", "PASS")
    attempts = first_of(report).attempts
    assert [(one.attempt, one.status, one.cause) for one in attempts] == [
        *[(number, "UNKNOWN", "host") for number in range(1, slow + 1)],
        (slow + 1, "PASS", None),
    ]
    assert all("the wall clock moved by 80 ms" in one.detail for one in attempts[:-1])
    assert len({one.run_id for one in attempts}) == slow + 1
    assert all(one.evidence["requests"] == 20 for one in attempts)
    assert first_of(report).run_id == attempts[-1].run_id
    # All of it is in the bundle, and comes out again.
    found = verify(project.directory, Expected())
    assert (found.flaws, found.verdict) == ([], "PROMOTE")
    assert rejudge(project.directory)[1] == []
    assert '"result": "WARNED"' in (project.directory / "attestation.json").read_text()


@pytest.mark.parametrize(
    ("attempts", "status", "said"),
    [
        ([SLOW], "UNKNOWN", "the wall clock moved"),
        ([SLOW, SLOW, SLOW], "UNKNOWN", "the wall clock moved"),
        ([SLOW, RED], "FAIL", "all is well"),
        ([RED, GREEN], "FAIL", "attempt 1 was FAIL"),
        ([SLOW, RED, GREEN], "FAIL", "attempt 2 was FAIL"),
        ([CUT_OFF, GREEN], "UNKNOWN", "attempt 1 was UNKNOWN"),
        ([SLOW, CUT_OFF, GREEN], "UNKNOWN", "attempt 2 was UNKNOWN"),
        ([GREEN, GREEN], "UNKNOWN", "attempt 1 was PASS"),
        ([SLOW, SLOW, SLOW, GREEN], "UNKNOWN", "numbered 1, 2, 3, 4"),
    ],
)
def test_nothing_else_is_repeated(
    project: Repeated, attempts: list[str], status: str, said: str
) -> None:
    report = project.made(*attempts, prove=False)
    assert report.verdict == "HOLD"
    assert first_of(report).status == status
    assert said in first_of(report).detail


@pytest.mark.parametrize("numbers", [(2,), (1, 3), (1, 1), (2, 3), (0, 1)])
def test_attempts_are_numbered_without_a_gap(project: Repeated, numbers: tuple[int, ...]) -> None:
    report = project.made(*[SLOW] * (len(numbers) - 1), GREEN, numbers=numbers, prove=False)
    assert (report.verdict, first_of(report).status) == ("HOLD", "UNKNOWN")
    assert "are numbered" in first_of(report).detail or "expected one" in first_of(report).detail


def without(attempt: int) -> Callable[[Path], None]:
    def drop(table: Path) -> None:
        run = "gate = 'first' AND run_id = (SELECT run_id FROM read_parquet('{0}') WHERE gate = 'first' AND attempt = {1})"
        runs = table.parent / "runs.parquet"
        edit_table(table, f"SELECT * FROM old WHERE NOT ({run.format(runs, attempt)})")

    return drop


@pytest.mark.parametrize(("attempts", "dropped"), [((SLOW, RED), 2), ((SLOW, GREEN), 1)])
def test_an_attempt_that_is_dropped_is_noticed(
    project: Repeated, attempts: tuple[str, ...], dropped: int
) -> None:
    project.made(*attempts)
    assert verify(project.directory, Expected()).flaws == []
    evidence = project.directory / "evidence"
    tables = [path for path in evidence.glob("*.parquet") if path.name != "runs.parquet"]
    for table in [*tables, evidence / "runs.parquet"]:
        without(dropped)(table)
    again = judge_directory(project.directory).report
    assert again.verdict == "HOLD"
    assert first_of(again).status == "UNKNOWN"
    assert verify(project.directory, Expected()).flaws != []
    close_again(project.directory)
    assert verify(project.directory, Expected()).verdict == "HOLD"


def test_an_attempt_does_not_begin_before_the_one_it_repeats_has_ended(
    project: Repeated,
) -> None:
    project.made(SLOW, GREEN)
    judgement = judge_directory(project.directory)
    records = judgement.evidence.runs_of("first")
    early = msgspec.structs.replace(records[1].run, epoch_ms=records[0].run.epoch_ms + 10)
    records[1] = msgspec.structs.replace(records[1], run=early)
    judgement.evidence._runs = {"first": records}
    judged = judgement.shipped.specs.judged["first"]
    (verdict,) = judge_attempts(judgement.evidence, judged, SIGNATURES)
    assert verdict.status == "UNKNOWN"
    assert "began before the one it repeats had ended" in verdict.detail
