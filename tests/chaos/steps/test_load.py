"""The step around the load process: its plan, its row, its inner steps, and that it never hangs."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest

from chaos import bounds
from chaos.clock import RunClock
from chaos.engine.scope import RunState, Scope, StopScenario
from chaos.engine.stack import Stack
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import Recorder
from chaos.guard import Guard
from chaos.load.plan import Bursts, Clients, Rates
from chaos.load.plan import Stage as PlanStage
from chaos.spec.kind import Kind
from chaos.spec.loader import load
from chaos.spec.step import Bearer, Send, Spec, Step
from chaos.spec.target import Actor, LinkSpec, ProcessSpec, Target
from chaos.spec.units import Duration, Rate
from chaos.spec.variables import Variables
from chaos.steps import choose_step
from chaos.steps.load import Load, Stage, plan_of, run
from tests.builders.http_servers import OK, Action, Scripted, scripted
from tests.builders.load_runs import rows

SEND = Send(get="/x")
RATE = Load(load="turns", rate=Rate("100/s"), for_=Duration("300ms"), send=SEND)


class Inner(Step, frozen=True, kw_only=True):
    """A step of the test's own that calls back."""

    inner: str


class FakeStack:
    """What a load needs of a started target."""

    host = "127.0.0.1"

    def __init__(self, port: int, guard: Guard | None) -> None:
        self.guard = guard
        self.target = Target(
            target="some",
            actors={"operator": Actor(bearer="{token.operator}", role="operator")},
            processes={
                "gateway": ProcessSpec(run="x", port=1),
                "memory": ProcessSpec(run="y", port=2),
            },
            links={"client->memory": LinkSpec(to="memory")},
        )
        self._port = port

    def look(self) -> None:
        """Nobody starts others here."""

    def port(self, process: str) -> int:
        return self._port

    def link_port(self, link: str) -> int:
        return self._port


def scope_for(
    directory: Path,
    port: int,
    guard: Guard | None,
    inner: Callable[[], None] = lambda: None,
) -> Scope:
    async def call(step: Step, scope: Scope) -> None:
        inner()

    recorder = Recorder(directory, "0123456789abcdef", "some-gate", [r"sk_[a-z]+"])
    recorder.keep_secret("s3cret-token", "token.operator")
    kinds = {Inner: Kind("inner", Inner, call), Load: Kind("load", Load, run)}
    stack = cast(Stack, FakeStack(port, guard))
    state = RunState(kinds, stack, recorder, RunClock(), "healthy", 7)
    variables = Variables({"token.operator": "s3cret-token", "place": "here", "number": 5})
    return Scope(state, "scenario.0", variables, {"role": "observer"}, 0.0)


def run_step(
    directory: Path,
    step: Load,
    script: Callable[[bytes, int], list[Action]] = lambda *_: [OK],
    inner: Callable[[Scripted], None] = lambda _: None,
    within_s: float = 30,
) -> tuple[list[schema.Load], Scripted, BaseException | None]:
    """(rows of `loads`, what the server saw, what the step raised)."""

    async def carry_out() -> tuple[Scripted, BaseException | None]:
        guard = Guard()
        try:
            async with scripted(script) as server:
                scope = scope_for(directory, server.port, guard, lambda: inner(server))
                try:
                    await asyncio.wait_for(run(step, scope), within_s)
                except (HarnessError, StopScenario, TimeoutError) as error:
                    return server, error
                return server, None
        finally:
            guard.close()

    server, error = asyncio.run(carry_out())
    return rows(directory / "loads.jsonl", "loads", schema.Load), server, error


def test_a_load_and_its_row(tmp_path: Path) -> None:
    loads, server, error = run_step(tmp_path, msgspec.structs.replace(RATE, as_="operator"))
    assert error is None
    (row,) = loads
    assert (row.load, row.shape, row.planned, row.sent, row.done) == ("turns", "rate", 30, 30, 30)
    assert row.problem is None
    assert row.load_ended_ms - row.load_began_ms >= 290
    requests = rows(tmp_path / "requests.turns.jsonl", "requests", schema.Request)
    assert {(r.actor, r.role, r.process, r.link) for r in requests} == {
        ("operator", "operator", "gateway", None)
    }
    assert msgspec.json.decode(requests[3].vars) == {"role": "observer", "i": 3}
    assert all(b"Authorization: Bearer s3cret-token\r\n" in data for data in server.requests)
    assert all(b"s3cret" not in path.read_bytes() for path in tmp_path.glob("*.jsonl"))


def test_inner_steps_run_while_the_load_does(tmp_path: Path) -> None:
    seen: list[int] = []
    step = msgspec.structs.replace(
        RATE, meanwhile=[Inner(inner="a"), Inner(inner="b", at=Duration("150ms"))]
    )
    loads, server, error = run_step(
        tmp_path, step, inner=lambda server: seen.append(len(server.requests))
    )
    assert error is None
    assert seen[0] < seen[1] < len(server.requests) == 30
    steps = rows(tmp_path / "steps.jsonl", "steps", schema.Step)
    assert [row.step for row in steps] == ["scenario.0.meanwhile.0", "scenario.0.meanwhile.1"]
    began = loads[0].load_began_ms
    assert steps[1].began_ms >= began + 150


def test_an_inner_step_that_stops_the_scenario_ends_the_load(tmp_path: Path) -> None:
    def stop(server: Scripted) -> None:
        raise StopScenario("enough")

    step = msgspec.structs.replace(RATE, for_=Duration("1h"), meanwhile=[Inner(inner="a")])
    loads, _, error = run_step(tmp_path, step, inner=stop, within_s=15)
    assert isinstance(error, StopScenario)
    assert "ended by SIGTERM" in (loads[0].problem or "")
    assert loads[0].sent < loads[0].planned == 360_000


def test_a_load_process_that_is_killed_is_a_problem(tmp_path: Path) -> None:
    def kill(server: Scripted) -> None:
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                _kill_if_load(path, str(tmp_path))

    step = msgspec.structs.replace(RATE, for_=Duration("1h"), meanwhile=[Inner(inner="a")])
    loads, _, error = run_step(tmp_path, step, inner=kill, within_s=15)
    assert isinstance(error, HarnessError)
    assert "gave no summary; it exited with -9" in (loads[0].problem or "")
    assert (loads[0].planned, loads[0].sent) == (360_000, 0)


def _kill_if_load(process: Path, directory: str) -> None:
    """Kill the process if it records into `directory`."""
    files = []
    with contextlib.suppress(OSError):
        for entry in (process / "fd").iterdir():
            # A connection that is closed meanwhile hides no other file.
            with contextlib.suppress(OSError):
                files.append(str(entry.readlink()))
    if f"{directory}/requests.turns.jsonl" in files and int(process.name) != os.getpid():
        os.kill(int(process.name), signal.SIGKILL)


def test_a_load_that_cannot_be_sent_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where fewer files may be open than a load may ask for.
    monkeypatch.setattr(bounds, "CONNECTIONS", 5000)
    step = Load(load="turns", burst=5000, send=SEND)
    loads, server, error = run_step(tmp_path, step)
    assert isinstance(error, HarnessError)
    assert (loads[0].planned, loads[0].sent) == (5000, 0)
    assert "0 of 5000 requests were sent" in (loads[0].problem or "")
    assert server.requests == []


def test_cancelling_the_step_ends_the_process_and_keeps_the_row(tmp_path: Path) -> None:
    step = msgspec.structs.replace(RATE, for_=Duration("1h"))
    loads, _, error = run_step(tmp_path, step, within_s=1.0)
    assert isinstance(error, TimeoutError)
    assert "ended by SIGTERM" in (loads[0].problem or "")


class TestPlan:
    def plan(self, tmp_path: Path, step: Load):
        return plan_of(step, scope_for(tmp_path, 8000, None))

    def test_variables_are_filled_but_for_those_of_the_load(self, tmp_path: Path) -> None:
        send = Send(
            post="/{place}/{i}",
            json={"text": "{uuid} {place}", "n": "{number}"},
            headers={"X-Y": "{place}"},
        )
        (message,) = self.plan(tmp_path, msgspec.structs.replace(RATE, send=send)).messages
        assert (message.path, message.route) == ("/here/{i}", "/{place}/{i}")
        assert message.body == '{"text":"{uuid} here","n":5}'
        assert dict(message.headers) == {"Content-Type": "application/json", "X-Y": "here"}

    def test_path_parameters_leave_the_variables_of_the_load_alone(self, tmp_path: Path) -> None:
        send = Send(get="/a/{i}/tasks/{id}", path_params={"*": "none"})
        scope = scope_for(tmp_path, 8000, None)
        scope.variables.set("id", "{id}")
        (message,) = plan_of(msgspec.structs.replace(RATE, send=send), scope).messages
        assert message.path == "/a/{i}/tasks/none"

    def test_each_message_may_have_its_own_actor(self, tmp_path: Path) -> None:
        sends = [SEND, Send(get="/y", as_=Bearer(bearer="made-up-token", label="forged"))]
        step = msgspec.structs.replace(RATE, send=sends, as_="operator")
        plan = self.plan(tmp_path, step)
        assert [message.actor for message in plan.messages] == ["operator", "forged"]
        assert {"s3cret-token", "made-up-token"} <= set(plan.secrets)

    def test_rows_are_reserved(self, tmp_path: Path) -> None:
        scope = scope_for(tmp_path, 8000, None)
        first, second = plan_of(RATE, scope), plan_of(RATE, scope)
        assert (first.first_seq, first.at_most, second.first_seq) == (0, 30, 30)

    def test_a_link_is_gone_through(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, msgspec.structs.replace(RATE, via="client->memory"))
        assert (plan.link, plan.process) == ("client->memory", "memory")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"load": "../up"}, "part of a file's name"),
        ({"clients": 3}, "exactly one of"),
        ({"rate": None}, "exactly one of"),
        ({"for_": None}, "needs a `for`"),
        ({"rate": [], "for_": None}, "at least one stage"),
        ({"rate": [Stage(rate=Rate("1/s"), for_=Duration("1s"))]}, "`for` goes with"),
        ({"rate": None, "burst": 5}, "`for` goes with"),
        ({"times": 2}, "`times` goes with"),
        ({"rate": None, "for_": None, "burst": 0}, "`burst` must be at least 1"),
        ({"at_most": 0}, "`at_most` must be at least 1"),
        ({"rate": Rate("1/min")}, "not a single request"),
        ({"rate": Rate("1000000/s"), "for_": Duration("1h")}, "more than 1000000"),
        ({"send": []}, "something to `send`"),
        ({"send": Send(post="/", json={"a": ["x {{i}}"]})}, "doubled or not"),
        ({"send": [Send(get="/"), Send(get="/{{uuid}}")]}, "doubled or not"),
    ],
)
def test_what_cannot_be_carried_out_is_said(changes: dict[str, object], words: str) -> None:
    assert RATE.problem() is None
    assert words in (msgspec.structs.replace(RATE, **changes).problem() or "")


class OneStep(Spec, frozen=True, kw_only=True):
    """A file with one step."""

    step: Step


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("load: a, rate: 60/s, for: 6s", Rates([PlanStage(60, 6)])),
        (
            "load: a, rate: [{rate: 20/s, for: 2s}, {rate: 90/min, for: 1min}]",
            Rates([PlanStage(20, 2), PlanStage(1.5, 60)]),
        ),
        ("load: a, clients: 8, for: 2s", Clients(8, 2)),
        ("load: a, burst: 100", Bursts(100)),
        ("load: a, burst: 100, times: 3, every: 500ms", Bursts(100, 3, 0.5)),
    ],
)
def test_every_shape_can_be_written(
    tmp_path: Path, text: str, shape: Rates | Clients | Bursts
) -> None:
    path = tmp_path / "step.yaml"
    path.write_text(f"step: {{{text}, send: [{{get: /x}}, {{get: /y, as: b}}], at_most: 900}}\n")
    read, _ = load(path, OneStep, {Step: choose_step})
    assert isinstance(read.step, Load)
    assert read.step.problem() is None
    assert read.step.shape() == shape
