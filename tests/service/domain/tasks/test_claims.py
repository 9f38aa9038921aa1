"""How tasks are run, as functions on a connection: each step finds the task as the step before left it, or does nothing."""

from collections.abc import Callable
from typing import Any

import apsw
import msgspec
import pytest

from service.domain.confirmations import records as confirmations
from service.domain.confirmations.records import Overdue
from service.domain.deadletters import records as letters
from service.domain.policies import records as policies
from service.domain.sessions import ending
from service.domain.sessions import records as sessions
from service.domain.tasks import claims
from service.domain.tasks import records as tasks
from service.domain.tasks.claims import Due, Ids
from service.domain.tasks.records import NewTask, State
from service.domain.tools.records import ToolRun, end_run
from service.effects import Effect, Origin
from service.errors import Conflict, Unavailable, Unprocessable

NOW_MS = 1_000_000
ASKER = Origin("tok_asker", "req_1", NOW_MS)
READ = NewTask("file.read", {"path": "a"})
SHELL = NewTask("shell.run", {"command": "true"})
MOST_CLAIMS = 3
TTL_MS = 1_000


def at(ms: int, actor: str = "tok_other") -> Origin:
    return Origin(actor, "req_2", NOW_MS + ms)


@pytest.fixture
def db(connection: apsw.Connection) -> apsw.Connection:
    return connection


def queued(db: apsw.Connection, new: NewTask = READ, task_id: str = "task_1") -> Due:
    tasks.create_task(db, task_id, new, ASKER)
    return next(each for each in claims.due(db, NOW_MS, 9) if each.id == task_id)


def claimed(db: apsw.Connection, task: Due) -> State:
    state = claims.claiming(task, MOST_CLAIMS, lambda: NOW_MS).run(db).result
    assert state is not None
    return state


def begun(
    db: apsw.Connection, task: Due, ms: int = 0, number: int = 1
) -> tuple[State, Effect[ToolRun | None]]:
    state = claimed(db, task)
    ids = Ids(f"run_{number}", f"conf_{number}", TTL_MS)
    return state, claims.beginning(task, state, ids, lambda: NOW_MS + ms).run(db)


def run_of(db: apsw.Connection, task: Due) -> ToolRun:
    run = begun(db, task)[1].result
    assert run is not None
    return run


def ended(db: apsw.Connection, run: ToolRun, **how: Any) -> Effect[ToolRun]:
    return end_run(db, msgspec.structs.replace(run, **how), ASKER)


def shown(db: apsw.Connection, task_id: str = "task_1") -> tuple[str, Any, int]:
    task = tasks.find(db, task_id)
    return task.status, msgspec.json.decode(task.outcome), task.attempts


def told(effect: Effect[Any]) -> list[tuple[str, str]]:
    return [(each.table, each.id) for each in (effect, *effect.also)]


def test_notes_are_nobodys_to_run_and_tools_are_taken_in_order(db: apsw.Connection) -> None:
    for number, new in enumerate((READ, NewTask("note"), SHELL), 1):
        tasks.create_task(db, f"task_{number}", new, ASKER)
    assert [each.id for each in claims.due(db, NOW_MS, 9)] == ["task_1", "task_3"]
    assert claims.due(db, NOW_MS - 1, 9) == []
    plan = db.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE status = 'queued' AND not_before_ms <= 1"
        " ORDER BY not_before_ms, seq LIMIT 4"
    ).fetchall()
    assert len(plan) == 1 and "tasks_due" in str(plan[0][3])


def test_what_is_stored_is_what_runs(db: apsw.Connection) -> None:
    task = queued(db, NewTask("file.read", {"path": "a"}))
    assert task.payload == '{"max_bytes":1048576,"path":"a"}'
    run = run_of(db, task)
    assert (run.arguments_json, run.approval) == (task.payload, "policy:safe_read")
    with pytest.raises(Unprocessable, match="pfad"):
        tasks.create_task(db, "task_2", NewTask("file.read", {"path": "a", "pfad": 1}), ASKER)


def test_one_too_many_that_waits_to_be_run_is_refused(db: apsw.Connection) -> None:
    for number, new in enumerate((READ, NewTask("note"), READ, NewTask("note")), 1):
        tasks.create_task(db, f"task_{number}", new, ASKER, 2)
    with pytest.raises(Unavailable) as refused:
        tasks.create_task(db, "task_5", READ, ASKER, 2)
    assert (refused.value.code, refused.value.status) == ("overloaded", 503)
    tasks.create_task(db, "task_5", NewTask("note"), ASKER, 2)
    claimed(db, claims.due(db, NOW_MS, 1)[0])
    tasks.create_task(db, "task_6", READ, ASKER, 2)
    with pytest.raises(Unavailable):
        tasks.repeat_task(db, "task_1", "task_7", ASKER, 2)


def test_a_task_is_claimed_once_and_ends_with_its_run(db: apsw.Connection) -> None:
    task = queued(db)
    state, effect = begun(db, task)
    assert (state.claim_epoch, shown(db)[0], told(effect)) == (
        1,
        "running",
        [("tool_runs", "run_1")],
    )
    assert effect.detail["on_behalf_of"] == "tok_asker"
    with pytest.raises(Conflict):
        claimed(db, task)
    assert effect.result is not None
    done = ended(db, effect.result, status="succeeded", result={"content": "x"})
    assert told(done) == [("tool_runs", "run_1"), ("tasks", "task_1")]
    status, outcome, _ = shown(db)
    assert (status, outcome["run_id"], outcome["result"]) == (
        "completed",
        "run_1",
        {"content": "x"},
    )
    # A second end, however it comes about, changes nothing.
    assert told(ended(db, effect.result, status="failed")) == [("tool_runs", "run_1")]
    assert shown(db)[0] == "completed"
    with pytest.raises(Conflict, match="completed"):
        claims.cancel_task(db, "task_1", at(1))


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ({"status": "failed", "error_code": "exit_status"}, "failed", "exit_status"),
        ({"status": "verification_failed"}, "failed", "verification_failed"),
        (
            {"status": "needs_operator", "error_code": "tool_outcome_unknown"},
            "needs_operator",
            None,
        ),
    ],
)
def test_what_fails_is_a_dead_letter_and_what_is_unknown_is_for_an_operator(
    db: apsw.Connection, how: dict[str, Any], status: str, reason: str | None
) -> None:
    run = run_of(db, queued(db))
    ended(db, run, **how)
    assert shown(db)[0] == status
    found = db.execute("SELECT id, task_id, reason FROM dead_letters").fetchall()
    assert found == ([("dead_1", "task_1", reason)] if reason else [])
    assert claims.due(db, NOW_MS * 9, 9) == []


def test_what_did_not_run_for_lack_of_tools_waits_ever_longer_and_is_no_attempt(
    db: apsw.Connection,
) -> None:
    task, waits = queued(db), []
    for number in range(1, 9):
        run = begun(db, task, number=number)[1].result
        assert run is not None
        ended(db, run, status="failed", error_code="tools_unavailable")
        (found,) = db.execute("SELECT not_before_ms - ? FROM tasks", (NOW_MS,)).fetchall()
        assert isinstance(found[0], int)
        waits.append(found[0])
        assert claims.due(db, NOW_MS + waits[-1] - 1, 9) == []
        (task,) = claims.due(db, NOW_MS + waits[-1], 9)
    assert waits == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert shown(db)[2] == 0


def test_a_claim_that_could_not_go_on_is_given_back_and_the_third_is_the_last(
    db: apsw.Connection,
) -> None:
    task = queued(db)
    for attempts in range(1, MOST_CLAIMS + 1):
        state = claimed(db, task)
        claims.give_back(db, task, state, True, at(0))
        assert shown(db) == ("queued", None, attempts)
        (task,) = claims.due(db, NOW_MS, 9)
    given_up = claims.claiming(task, MOST_CLAIMS, lambda: NOW_MS).run(db)
    assert given_up.result is None
    assert told(given_up) == [("tasks", "task_1"), ("dead_letters", "dead_1")]
    assert shown(db)[:2] == ("failed", {"dead_letter": "dead_1", "reason": "claimed_too_often"})


def test_a_claim_that_is_over_begins_nothing(db: apsw.Connection) -> None:
    task = queued(db)
    state = claimed(db, task)
    claims.cancel_task(db, "task_1", at(1))
    with pytest.raises(Conflict):
        claims.beginning(task, state, Ids("run_1", "conf_1", TTL_MS), lambda: NOW_MS).run(db)
    with pytest.raises(Conflict):
        claims.give_back(db, task, state, True, at(1))
    assert shown(db)[0] == "cancelled"
    assert db.execute("SELECT count(*) FROM tool_runs").fetchall() == [(0,)]


def test_what_was_begun_is_neither_called_off_nor_given_back(db: apsw.Connection) -> None:
    task = queued(db)
    state, _ = begun(db, task)
    with pytest.raises(Conflict) as refused:
        claims.cancel_task(db, "task_1", at(1))
    assert refused.value.code == "task_running"
    with pytest.raises(Conflict):
        claims.give_back(db, task, state, True, at(1))
    assert shown(db)[0] == "running"


def test_what_was_claimed_only_is_queued_again_after_a_crash_and_what_was_begun_is_not(
    db: apsw.Connection,
) -> None:
    first, second = queued(db), queued(db, READ, "task_2")
    stale = claimed(db, first)
    _, effect = begun(db, second)
    for task in (first, second):
        claims.settle_found(
            db, msgspec.structs.replace(task, status="running", claim_epoch=1), NOW_MS
        )
    assert [shown(db, each)[::2] for each in ("task_1", "task_2")] == [
        ("queued", 1),
        ("needs_operator", 1),
    ]
    (again,) = claims.due(db, NOW_MS, 9)
    assert again.claim_epoch == 1 and claimed(db, again).claim_epoch == 2
    with pytest.raises(Conflict):
        claims.beginning(first, stale, Ids("run_9", "conf_9", TTL_MS), lambda: NOW_MS).run(db)
    # What an earlier life knew of the run is written down, and its task stays with the operator.
    assert effect.result is not None
    ended(db, effect.result, status="succeeded")
    assert shown(db, "task_2")[0] == "needs_operator"
    assert claims.cancel_task(db, "task_2", at(2)).result.status == "cancelled"


@pytest.fixture
def waiting(db: apsw.Connection) -> Due:
    """A task that waits for a decision on conf_1, whose session ends at 5000 ms."""
    sessions.open_session(db, "ses_1", "", 5_000, ASKER)
    task = queued(db, NewTask("shell.run", {"command": "true"}, "ses_1"))
    _, effect = begun(db, task)
    assert effect.result is None
    assert told(effect) == [("confirmations", "conf_1"), ("tasks", "task_1")]
    return task


def approve(db: apsw.Connection, ms: int = 10) -> Effect[ToolRun]:
    sha256 = confirmations.find(db, "conf_1", NOW_MS).args_sha256
    return confirmations.approving("conf_1", sha256, "run_2", lambda: at(ms)).run(db)


def test_a_task_that_asks_waits_and_is_run_by_its_approval(
    db: apsw.Connection, waiting: Due
) -> None:
    assert shown(db) == ("queued", {"confirmation_id": "conf_1"}, 0)
    assert claims.due(db, NOW_MS * 9, 9) == []
    approved = approve(db)
    assert (told(approved), shown(db)[0]) == (
        [("confirmations", "conf_1"), ("tasks", "task_1")],
        "running",
    )
    assert waiting.payload == approved.result.arguments_json
    ended(db, approved.result, status="succeeded")
    assert shown(db)[0] == "completed"
    assert db.execute("SELECT task_id, status FROM tool_runs").fetchall() == [
        ("task_1", "succeeded")
    ]


def test_an_approval_that_finds_no_tools_leaves_the_task_to_ask_again(
    db: apsw.Connection, waiting: Due
) -> None:
    ended(db, approve(db).result, status="failed", error_code="tools_unavailable")
    assert shown(db)[0] == "queued"
    assert [each.id for each in claims.due(db, NOW_MS * 2, 9)] == [waiting.id]


DECISIONS: dict[str, Callable[[apsw.Connection], Effect[Any]]] = {
    "denied": lambda db: confirmations.denying("conf_1", lambda: at(10)).run(db),
    "expired": lambda db: confirmations.expire(db, "conf_1", at(TTL_MS)),
    "its session closed": lambda db: ending.close_session(db, "ses_1", at(10)),
    "cancelled": lambda db: claims.cancel_task(db, "task_1", at(10)),
}


@pytest.mark.parametrize("decided", DECISIONS)
def test_what_is_decided_against_ends_question_and_task_together(
    db: apsw.Connection, waiting: Due, decided: str
) -> None:
    effect = DECISIONS[decided](db)
    assert {("confirmations", "conf_1"), ("tasks", waiting.id)} <= set(told(effect))
    assert shown(db)[0] == "cancelled"
    assert confirmations.find(db, "conf_1", NOW_MS).status in ("denied", "expired")
    # All that was changed names the request that did it, as its audit rows do.
    changed = db.execute(
        "SELECT request_id FROM tasks UNION ALL SELECT request_id FROM confirmations"
    )
    assert changed.fetchall() == [("req_2",)] * 2
    with pytest.raises((Conflict, Overdue)):
        approve(db)
    assert claims.due(db, NOW_MS * 9, 9) == []


def test_a_confirmation_does_not_outlive_its_session(db: apsw.Connection) -> None:
    sessions.open_session(db, "ses_1", "", TTL_MS // 2, ASKER)
    begun(db, queued(db, NewTask("shell.run", {"command": "true"}, "ses_1")))
    assert confirmations.overdue(db, NOW_MS + TTL_MS // 2 - 1) == []
    assert confirmations.overdue(db, NOW_MS + TTL_MS // 2) == ["conf_1"]
    with pytest.raises(Overdue):
        approve(db, TTL_MS // 2)


def test_a_task_whose_session_is_over_is_not_run(db: apsw.Connection) -> None:
    sessions.open_session(db, "ses_1", "", 5_000, ASKER)
    _, effect = begun(db, queued(db, NewTask("file.read", {"path": "a"}, "ses_1")), 5_000)
    assert effect.result is None
    assert shown(db)[:2] == ("cancelled", {"reason": "session_over"})


def test_what_the_policy_denies_is_a_dead_letter_that_is_replayed_once(db: apsw.Connection) -> None:
    policies.set_policy(db, "safe_read", "deny", 1, ASKER)
    begun(db, queued(db))
    assert shown(db)[:2] == ("failed", {"dead_letter": "dead_1", "reason": "policy_denied"})
    replayed = letters.replay(db, "dead_1", "task_2", at(5))
    assert told(replayed) == [("tasks", "task_2"), ("dead_letters", "dead_1")]
    assert (replayed.result.kind, replayed.result.created_by) == (READ.kind, "tok_other")
    with pytest.raises(Conflict, match="task_2"):
        letters.replay(db, "dead_1", "task_3", at(6))
    assert [each.id for each in claims.due(db, NOW_MS + 5, 9)] == ["task_2"]


def test_what_a_revoked_token_has_queued_is_not_run(db: apsw.Connection) -> None:
    made = (
        "INSERT INTO tokens VALUES ('tok_asker', 'operator', '', 'issued', 1, NULL, NULL, 'req_0')"
    )
    db.execute(made)
    assert begun(db, queued(db))[1].result is not None
    db.execute("UPDATE tokens SET revoked_at_ms = 1")
    effect = begun(db, queued(db, READ, "task_2"), number=2)[1]
    assert effect.result is None
    assert told(effect) == [("tasks", "task_2"), ("dead_letters", "dead_2")]
    assert shown(db, "task_2")[1]["reason"] == "token_revoked"
