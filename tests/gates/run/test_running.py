"""What is run again in a session, and how often."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from chaos.engine.plan import Plan
from gates.judge.result import Cause, GateVerdict, Status
from gates.run.bench import Bench
from gates.run.running import gate_runs
from gates.run.session import Options, open_session
from gates.spec.gate import Gate
from tests.builders.small_project import SECOND, write_project

Come = tuple[Status, Cause | None]
SLOW: Come = ("UNKNOWN", "host")


def verdict(gate: str, status: Status, cause: Cause | None) -> GateVerdict:
    return GateVerdict(
        gate=gate, id="A1", run_id="r", mode="healthy", status=status, detail="d",
        assertions=[], faults=[], findings=[], cause=cause,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("comes", "attempts"),
    [
        ([("PASS", None)], 1),
        ([("FAIL", None)], 1),
        ([("UNKNOWN", None)], 1),
        ([SLOW, ("PASS", None)], 2),
        ([SLOW, SLOW, ("FAIL", None)], 3),
        ([SLOW, SLOW, SLOW, ("PASS", None)], 3),
    ],
)
def test_a_gate_is_repeated_alone_while_the_host_is_slow_and_at_most_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes: Sequence[Come], attempts: int
) -> None:
    specs = write_project(tmp_path, {})
    session = open_session(Options(specs=str(specs)), tmp_path / "runs", lambda _: None)
    left = list(comes)
    ran: list[tuple[int, bool]] = []

    def carry_out(_bench: Bench, _gate: Gate, plan: Plan, *, alone: bool) -> None:
        ran.append((plan.attempt, alone))

    def judge(_bench: Bench, gate: Gate, *_: object) -> GateVerdict:
        return verdict(gate.gate, *left.pop(0))

    monkeypatch.setattr(Bench, "carry_out", carry_out)
    monkeypatch.setattr(Bench, "judge", judge)
    run = next(one for one in gate_runs(session) if one.gate == "first")
    bench = Bench(session, "main")
    found = run.do(bench)
    bench.close()
    assert ran == [(attempt, attempt > 1) for attempt in range(1, attempts + 1)]
    assert [one.status for one in found] == [come[0] for come in comes[:attempts]]
    assert (run.said(found).outcome, run.said(found).tries) == (found[-1].status, attempts)
    assert (run.failure(found) is None) == (found[-1].status == "PASS")


def test_what_is_repeated_anyway_is_not_because_the_host_is_slow(tmp_path: Path) -> None:
    specs = write_project(tmp_path, {})
    options = Options(specs=str(specs), repeat=2)
    session = open_session(options, tmp_path / "runs", lambda _: None)
    assert [(run.label, run.repeat, run.attempts) for run in gate_runs(session)] == [
        (f"{session.listed[name].id} {name} [{repeat + 1}/2]", repeat, 1)
        for name in session.order
        for repeat in (0, 1)
    ]


@pytest.mark.parametrize(
    ("exclusive", "order"),
    [
        (("", ""), ["first", "second"]),
        (("isolation: shared", "exclusive: true"), ["second", "first"]),
        (
            ("{request: {get: /ready}}", "{request: {get: /ready}, exclusive: true}"),
            ["second", "first"],
        ),
    ],
)
def test_who_has_to_be_alone_is_handed_out_first(
    tmp_path: Path, exclusive: tuple[str, str], order: list[str]
) -> None:
    assert exclusive[0] in SECOND
    specs = write_project(tmp_path, {"specs/gates/second.yaml": SECOND.replace(*exclusive)})
    session = open_session(Options(specs=str(specs)), tmp_path / "runs", lambda _: None)
    assert session.order == order


def test_attempts_are_recorded_apart(tmp_path: Path) -> None:
    specs = write_project(tmp_path, {})
    session = open_session(Options(specs=str(specs)), tmp_path / "runs", lambda _: None)
    places = [session.gate_directory("first", 0, attempt) for attempt in (1, 2, 3)]
    assert [place.relative_to(session.path / "gates") for place in places] == [
        Path("0/first"), Path("0.2/first"), Path("0.3/first"),
    ]  # fmt: skip
