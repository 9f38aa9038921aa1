"""Done, certainly not done, or unknown: what is unknown is said so, kept so, and never done twice."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pytest

from service.dependencies import ToolOutcomeUnknown, ToolsUnavailable
from service.dependencies.tools import ToolsClient
from service.domain.tasks import records
from service.errors import Unavailable
from service.http import idempotency
from service.http.idempotency import Kept
from service.messages.tools import Outcome, ToolOutcome
from service.storage import Storage
from tests.service.gateway.inprocess import Inside, inside
from tests.service.running import Answer, State, rows

WRITE = "/v1/tools/file.write/execute"
CALL = {"arguments": {"path": "a", "content": "x"}}
NO_ROOM = Unavailable("the database refused: disk is full; nothing was changed")


@pytest.fixture
def gateway(state: State) -> Iterator[Inside]:
    with inside(state) as made:
        yield made


class Tools:
    """In the place of the tools process: counts its runs, and answers as it is told."""

    def __init__(self, patch: pytest.MonkeyPatch, *outcomes: Exception | None) -> None:
        self.runs = 0
        self._outcomes = list(outcomes)
        patch.setattr(ToolsClient, "execute", self._execute)

    async def _execute(self, *_: object, **__: object) -> ToolOutcome:
        self.runs += 1
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if outcome is not None:
            raise outcome
        return ToolOutcome("file.write", Outcome.SUCCEEDED, {"written": 1})


def failing(patch: pytest.MonkeyPatch, method: str, fails: Callable[[Any], bool]) -> list[bool]:
    """Let `Storage.<method>` be unable to commit what `fails` says of its first argument, until the list is emptied."""
    real = getattr(Storage, method)
    broken = [True]

    async def maybe(storage: Storage, what: Any, *more: Any) -> Any:
        if broken and fails(what):
            raise NO_ROOM
        return await real(storage, what, *more)

    patch.setattr(Storage, method, maybe)
    return broken


def unrecorded_end(patch: pytest.MonkeyPatch) -> list[bool]:
    return failing(patch, "change", lambda cause: cause.action == "tool.end")


def unwritten_answer(patch: pytest.MonkeyPatch) -> list[bool]:
    return failing(patch, "do", lambda run: getattr(run, "func", None) is idempotency.complete)


def states(gateway: Inside) -> list[str]:
    return [str(row[0]) for row in rows(gateway.state, "SELECT state FROM idempotency")]


def is_problem(answer: Answer, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    return (answer.status, answer.json["code"]) == (status, code)


def says_unknown(answer: Answer) -> bool:
    text = answer.body.decode()
    return "interrupted" in text and "nothing was" not in text


def test_a_lost_answer_keeps_its_key_and_the_tool_runs_once(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(monkeypatch, ToolOutcomeUnknown("the connection ended"))

    async def twice() -> tuple[Answer, Answer]:
        first = await gateway.post(WRITE, CALL, Idempotency_Key="k")
        return first, await gateway.post(WRITE, CALL, Idempotency_Key="k")

    first, again = asyncio.run(twice())
    assert is_problem(first, 504, "tool_outcome_unknown")
    assert is_problem(again, 409, "outcome_unknown")
    assert says_unknown(first)
    assert says_unknown(again)
    assert tools.runs == 1
    assert states(gateway) == ["interrupted"]
    assert rows(gateway.state, "SELECT status FROM tool_runs") == [("needs_operator",)]


def test_an_end_that_cannot_be_recorded_is_unknown_and_recorded_later(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(monkeypatch)
    broken = unrecorded_end(monkeypatch)

    async def attack() -> tuple[Answer, Answer]:
        first = await gateway.post(WRITE, CALL, Idempotency_Key="k")
        again = await gateway.post(WRITE, CALL, Idempotency_Key="k")
        assert gateway.control.storage.owed == 1
        broken.clear()
        await gateway.control.storage.catch_up()
        return first, again

    first, again = asyncio.run(attack())
    assert is_problem(first, 503, "outcome_unknown")
    assert is_problem(again, 409, "outcome_unknown")
    assert says_unknown(first)
    assert says_unknown(again)
    assert tools.runs == 1
    found = rows(gateway.state, "SELECT status, result ->> '$.error' FROM tool_runs")
    assert found[0][0] == "needs_operator"
    assert "ended as succeeded" in found[0][1]
    assert rows(gateway.state, "SELECT count(*) FROM audit WHERE action = 'tool.end'") == [(1,)]


def test_an_approved_call_whose_end_cannot_be_recorded_is_unknown_as_well(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(monkeypatch)

    async def attack() -> tuple[Answer, Answer]:
        asked = await gateway.post(
            "/v1/tools/shell.run/execute", {"arguments": {"command": "true"}}
        )
        decision = {
            "confirmation_id": asked.json["confirmation_id"],
            "args_sha256": asked.json["args_sha256"],
            "decision": "approve",
        }
        unrecorded_end(monkeypatch)
        first = await gateway.post("/approve", decision, Idempotency_Key="k")
        return first, await gateway.post("/approve", decision, Idempotency_Key="k")

    first, again = asyncio.run(attack())
    assert is_problem(first, 503, "outcome_unknown")
    assert says_unknown(first)
    assert is_problem(again, 409, "outcome_unknown")
    assert tools.runs == 1


def test_what_certainly_did_not_run_says_so_and_may_be_asked_again(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(monkeypatch, ToolsUnavailable("down"))
    broken = unrecorded_end(monkeypatch)

    async def twice() -> tuple[Answer, Answer]:
        first = await gateway.post(WRITE, CALL, Idempotency_Key="k")
        broken.clear()
        again = await gateway.post(WRITE, CALL, Idempotency_Key="k")
        await gateway.control.storage.catch_up()
        return first, again

    first, again = asyncio.run(twice())
    assert is_problem(first, 503, "tools_unavailable")
    assert again.status == 200
    assert tools.runs == 2
    found = rows(gateway.state, "SELECT status FROM tool_runs ORDER BY seq")
    assert found == [("failed",), ("succeeded",)]


def test_an_answer_that_cannot_be_kept_is_given_and_known_until_it_is(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def attack() -> list[Answer]:
        broken = unwritten_answer(monkeypatch)
        answers = [await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k") for _ in "ab"]
        assert states(gateway) == ["in_flight"]
        broken.clear()
        await gateway.control.storage.catch_up()
        assert states(gateway) == ["done"]
        return [*answers, await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")]

    first, second, third = asyncio.run(attack())
    assert first.status == second.status == third.status == 201
    assert first.body == second.body == third.body
    assert second.headers["idempotent-replayed"] == third.headers["idempotent-replayed"] == "true"
    assert rows(gateway.state, "SELECT count(*) FROM tasks") == [(1,)]


@pytest.mark.parametrize("error", [RuntimeError("a defect"), asyncio.CancelledError()])
def test_a_request_that_is_broken_off_behind_its_effect_is_unknown(
    gateway: Inside, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Storage.change

    async def then_breaks(storage: Storage, *arguments: Any) -> Any:
        await real(storage, *arguments)
        raise error

    async def attack() -> tuple[Answer | None, Answer]:
        first = None
        with monkeypatch.context() as patched:
            patched.setattr(Storage, "change", then_breaks)
            try:
                first = await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")
            except asyncio.CancelledError:
                first = None
        return first, await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")

    first, again = asyncio.run(attack())
    assert first is None or is_problem(first, 500, "outcome_unknown")
    assert is_problem(again, 409, "outcome_unknown")
    assert says_unknown(again)
    assert rows(gateway.state, "SELECT count(*) FROM tasks") == [(1,)]


def test_a_request_that_is_broken_off_before_it_begins_leaves_no_key(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Storage.do

    async def attack() -> Answer:
        written, released = asyncio.Event(), asyncio.Event()

        async def late(storage: Storage, run: Any) -> Any:
            result = await real(storage, run)
            written.set()
            await released.wait()
            return result

        with monkeypatch.context() as patched:
            patched.setattr(Storage, "do", late)
            post = gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")
            first = asyncio.ensure_future(post)
            await written.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            released.set()
        for _ in range(10):
            await asyncio.sleep(0)
        await gateway.control.storage.catch_up()
        return await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")

    assert asyncio.run(attack()).status == 201
    assert rows(gateway.state, "SELECT count(*) FROM tasks") == [(1,)]


def test_what_fails_when_an_answer_has_begun_is_a_problem_too(
    gateway: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_and_break(kept: Kept) -> Any:
        async def keep(message: Any) -> None:
            if message["type"] == "http.response.body":
                raise RuntimeError("the answer broke off")

        return keep

    async def twice() -> tuple[Answer, Answer]:
        with monkeypatch.context() as patched:
            patched.setattr(idempotency, "keeping", keep_and_break)
            first = await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")
        return first, await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")

    first, again = asyncio.run(twice())
    assert is_problem(first, 503, "outcome_unknown")
    assert says_unknown(first)
    assert is_problem(again, 409, "outcome_unknown")


@pytest.mark.parametrize("error", [apsw.FullError("full"), apsw.BusyError("locked")])
def test_a_statement_that_the_disk_refuses_has_certainly_no_effect(
    gateway: Inside, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    async def twice() -> tuple[Answer, Answer]:
        with monkeypatch.context() as patched:
            patched.setattr(records, "create_task", refuse)
            first = await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")
        return first, await gateway.post("/tasks", {"kind": "x"}, Idempotency_Key="k")

    first, again = asyncio.run(twice())
    assert is_problem(first, 503, "storage_unavailable")
    assert again.status == 201
