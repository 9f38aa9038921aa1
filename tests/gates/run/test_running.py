"""What is run again in a session, and how often."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gates.judge.result import Cause, GateVerdict, Status
from gates.run import running
from gates.run.running import run_again
from gates.run.session import Options, open_session
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
        ([("PASS", None)], [2]),
        ([("FAIL", None)], [2]),
        ([("UNKNOWN", None)], [2]),
        ([SLOW, ("PASS", None)], [2, 3]),
        ([SLOW, SLOW, ("PASS", None)], [2, 3]),
    ],
)
def test_a_gate_is_repeated_while_the_host_is_slow_and_at_most_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes: Sequence[Come], attempts: list[int]
) -> None:
    specs = write_project(tmp_path, {})
    session = open_session(Options(specs=str(specs)), tmp_path / "runs", lambda _: None)
    left = list(comes)

    def run(self: object, name: str, repeat: int = 0, attempt: int = 1) -> GateVerdict:
        return verdict(name, *left.pop(0))

    monkeypatch.setattr(running.GateRunner, "run", run)
    told: list[tuple[str, int, str]] = []
    stopped = run_again(
        session, ["first"], lambda name, attempt, one, _: told.append((name, attempt, one.status))
    )
    assert not stopped
    assert told == [
        ("first", attempt, come[0]) for attempt, come in zip(attempts, comes, strict=False)
    ]


def test_an_interrupt_ends_repeating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = write_project(tmp_path, {})
    session = open_session(Options(specs=str(specs)), tmp_path / "runs", lambda _: None)

    def run(*_: object, **__: object) -> GateVerdict:
        raise KeyboardInterrupt

    monkeypatch.setattr(running.GateRunner, "run", run)
    assert run_again(session, ["first", "second"], lambda *_: pytest.fail("nothing was told"))


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
