"""The steps by which a task is run: claimed, then begun or asked about, then ended with its run.

A claim is durable before anything else happens, and the intent to run (the row of the run) before the tools process is
called. So a task that is found claimed without a run of this claim has had no effect and is queued again; one with a run that
did not end may have had it, and is for an operator. Each step changes the task only if it still is as the step before left it.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import apsw
import msgspec

from service.audit.seals import WITH_TASKS
from service.auth.rotation import is_revoked
from service.domain.confirmations.records import (
    NewConfirmation,
    create_confirmation,
    settle_of_task,
)
from service.domain.policies.records import Decision, decision
from service.domain.sessions.records import Life, judge_session, life_of
from service.domain.tasks.records import (
    CANCELLABLE,
    State,
    Task,
    attribute,
    bury,
    claim_of,
    end,
    find,
    put_back,
    state_of,
    take,
)
from service.domain.tools.records import ToolRun, begin_run
from service.effects import Effect, Origin, Step, system_cause
from service.errors import Conflict
from service.ids import NewId
from service.jsontypes import Json
from service.messages.tool_table import TOOLS
from service.query import select
from service.storage import Storage

TOO_OFTEN: Final = "claimed_too_often"
CONFIRM: Final = "confirm"
REVOKED: Final = "token_revoked"
DENIED: Final = "policy_denied"
REFUSED: Final = frozenset({REVOKED, DENIED})


class Due(msgspec.Struct, frozen=True):
    """A task that may be claimed: all that running it takes, and what its trace has of it. `payload` is canonical JSON."""

    id: str
    kind: str
    payload: str
    session_id: str | None
    status: str
    created_by: str
    request_id: str
    attempts: int
    claim_epoch: int

    @property
    def state(self) -> State:
        """Where it stood when it was read."""
        return State(self.id, self.status, self.claim_epoch)

    def origin(self, now_ms: int) -> Origin:
        """Whoever asked for it, on the request that did: what is done for it is done on their behalf."""
        return Origin(self.created_by, self.request_id, now_ms)


class Ids(msgspec.Struct, frozen=True):
    """What the rows are called that a step may write, and for how long a question waits."""

    run_id: str
    confirmation_id: str
    ttl_ms: int


def due(connection: apsw.Connection, now_ms: int, limit: int) -> list[Due]:
    """The next tasks that may be claimed, those first that have waited longest."""
    rest = "FROM tasks WHERE status = 'queued' AND not_before_ms <= ? ORDER BY not_before_ms, seq LIMIT ?"
    return select(connection, Due, rest, (now_ms, limit))


class Found(msgspec.Struct, frozen=True):
    """Where a task stood when it was found to be due, and how often it was claimed by then; and where it stands at `now_ms`."""

    due: State
    attempts: int
    stands: State
    now_ms: int


class Claim(msgspec.Struct, frozen=True):
    """Where a task stands that was claimed; None where it is given up, because it was claimed too often without an end."""

    claimed: State | None
    now_ms: int


class Facts(msgspec.Struct, frozen=True):
    """All that decides what becomes of a claimed task; `revoked` says whether the token is that asked for it."""

    stands: State
    session_id: str | None
    session: Life | None
    revoked: bool
    policy: Decision
    now_ms: int


class Plan(msgspec.Struct, frozen=True):
    """What becomes of a claimed task: it has a `run`, or for a `reason` it is asked first (CONFIRM), cancelled or refused."""

    now_ms: int
    reason: str = ""
    run: ToolRun | None = None


def claiming(
    task: Due, most_claims: int, now_ms: Callable[[], int]
) -> Step[Found, Claim, State | None]:
    """The step that claims a task, or gives it up; `now_ms()` is asked while it is taken."""
    return Step(
        lambda connection: Found(
            task.state, task.attempts, state_of(connection, task.id), now_ms()
        ),
        Found,
        lambda found: judge_claim(found, most_claims),
        lambda connection, claim: _claim(connection, task, claim),
    )


def judge_claim(found: Found, most_claims: int) -> Claim:
    """Decide whether a task is claimed. Raises Conflict when it is another's. Pure."""
    if found.stands != found.due:
        raise Conflict(f"the task {found.due.task_id} is no longer {found.due.status}", "task_over")
    given_up = found.attempts >= most_claims
    return Claim(None if given_up else claim_of(found.due), found.now_ms)


def _claim(connection: apsw.Connection, task: Due, claim: Claim) -> Effect[State | None]:
    if claim.claimed is None:
        origin = task.origin(claim.now_ms)
        letters = bury(connection, task.state, TOO_OFTEN, _why(TOO_OFTEN), origin)
        return Effect(None, "tasks", task.id, letters[0].detail, also=letters[1:])
    claimed = take(connection, task.state, claim.now_ms)
    return Effect(
        claimed, "tasks", task.id, _detail(task, claimed.status, epoch=claimed.claim_epoch)
    )


def beginning(
    task: Due, claimed: State, ids: Ids, now_ms: Callable[[], int]
) -> Step[Facts, Plan, ToolRun | None]:
    """The step that begins the run of a claimed task, or asks first, or refuses it, as the policy of this very transaction says.

    What a revoked token asked for is refused, and what a session asked for that is over is cancelled.
    """
    return Step(
        lambda connection: look(connection, task, now_ms()),
        Facts,
        lambda facts: judge(task, claimed, ids, facts),
        lambda connection, plan: _begin(connection, task, claimed, ids, plan),
    )


def look(connection: apsw.Connection, task: Due, now_ms: int) -> Facts:
    """Read all that decides what becomes of a claimed task at `now_ms`."""
    return Facts(
        stands=state_of(connection, task.id),
        session_id=task.session_id,
        session=life_of(connection, task.session_id),
        revoked=is_revoked(connection, task.created_by),
        policy=decision(connection, _safety_of(task)),
        now_ms=now_ms,
    )


def judge(task: Due, claimed: State, ids: Ids, facts: Facts) -> Plan:
    """Decide what becomes of a claimed task. Raises Conflict when the claim is over, and NotFound for its session. Pure."""
    if facts.stands != claimed:
        raise Conflict(f"the claim of {task.id} is over", "task_over")
    try:
        judge_session(facts.session_id, facts.session, facts.now_ms)
    except Conflict as over:
        return Plan(facts.now_ms, over.code)
    if facts.revoked:
        return Plan(facts.now_ms, REVOKED)
    match facts.policy:
        case "allow":
            approval = f"policy:{_safety_of(task)}"
            run = ToolRun(ids.run_id, task.kind, task.payload, approval, task=claimed)
            return Plan(facts.now_ms, run=run)
        case "confirm":
            return Plan(facts.now_ms, CONFIRM)
        case "deny":
            return Plan(facts.now_ms, DENIED)


def _safety_of(task: Due) -> str:
    return TOOLS[task.kind].safety.value if task.kind in TOOLS else ""


def _begin(
    connection: apsw.Connection, task: Due, claimed: State, ids: Ids, plan: Plan
) -> Effect[ToolRun | None]:
    origin = task.origin(plan.now_ms)
    if plan.run is not None:
        begun = begin_run(connection, plan.run, origin)
        return Effect(plan.run, begun.table, begun.id, {**begun.detail, **_for(task)})
    if plan.reason == CONFIRM:
        return _ask(connection, task, claimed, ids, origin)
    if plan.reason in REFUSED:
        letters = bury(connection, claimed, plan.reason, _why(plan.reason), origin)
        return Effect(None, "tasks", task.id, letters[0].detail, also=letters[1:])
    end(connection, claimed, "cancelled", _why(plan.reason), origin.now_ms)
    return Effect(None, "tasks", task.id, _detail(task, "cancelled", reason=plan.reason))


def _ask(
    connection: apsw.Connection, task: Due, claimed: State, ids: Ids, origin: Origin
) -> Effect[ToolRun | None]:
    new = NewConfirmation(
        id=ids.confirmation_id,
        tool=task.kind,
        args=task.payload.encode(),
        session_id=task.session_id,
        ttl_ms=ids.ttl_ms,
        task_id=task.id,
    )
    asked = create_confirmation(connection, new, origin)
    waits_for = msgspec.json.encode({"confirmation_id": new.id})
    put_back(connection, claimed, origin.now_ms, not_before_ms=None, outcome=waits_for)
    waiting: Effect[None] = Effect(
        None, "tasks", task.id, _detail(task, "queued", confirmation=new.id)
    )
    detail = {**asked.detail, **_for(task)}
    return Effect(None, asked.table, asked.id, detail, also=(waiting,))


def give_back(
    connection: apsw.Connection, task: Due, claimed: State, counted: bool, origin: Origin
) -> Effect[None]:
    """Queue a claimed task again that could not be begun. Raises Conflict when it was, or the claim is over."""
    if _run_of(connection, task.id) is not None:
        raise Conflict(f"a run of {task.id} was begun", "task_over")
    put_back(connection, claimed, origin.now_ms, not_before_ms=origin.now_ms, counted=counted)
    return Effect(None, "tasks", task.id, _detail(task, "queued"))


def cancel_task(connection: apsw.Connection, task_id: str, origin: Origin) -> Effect[Task]:
    """Call a task off, and with it the question that it waits for.

    Raises NotFound, and Conflict when it is over already, or when its run was begun, which nobody can call back.
    """
    was = state_of(connection, task_id)
    if was.status not in CANCELLABLE:
        raise Conflict(f"the task {task_id} is {was.status}", "task_over")
    if was.status == "running" and _run_of(connection, task_id) is not None:
        raise Conflict(f"the task {task_id} runs, which cannot be called back", "task_running")
    outcome = (
        bytes(find(connection, task_id).outcome) if was.status == "needs_operator" else b"null"
    )
    end(connection, was, "cancelled", outcome, origin.now_ms)
    attribute(connection, task_id, origin)
    also = settle_of_task(connection, task_id, "denied", origin)
    return Effect(
        find(connection, task_id),
        "tasks",
        task_id,
        {"was": was.status, "status": "cancelled"},
        also=also,
    )


def settle_running(storage: Storage, now_ms: int, new_id: NewId) -> int:
    """Settle every task that an earlier process had claimed; return how many.

    Called at start-up, before anything can be claimed. Each gets an audit row of its own.
    """
    rest = "FROM tasks WHERE status = 'running' ORDER BY seq"
    found = storage.read(lambda connection: select(connection, Due, rest))
    request_id = new_id("boot")
    for task in found:
        cause = system_cause("tasks", "task.interrupted", request_id, task.id)
        storage.change_now(cause, partial(settle_found, task=task, now_ms=now_ms))
    return len(found)


def settle_found(connection: apsw.Connection, task: Due, now_ms: int) -> Effect[None]:
    """Queue a task again that was claimed and not begun; hand one to an operator that was. Raises Conflict."""
    run_id = _run_of(connection, task.id)
    if run_id is None:
        put_back(connection, task.state, now_ms, not_before_ms=now_ms, counted=True)
        return Effect(None, "tasks", task.id, _detail(task, "queued"))
    outcome = msgspec.json.encode({"run_id": run_id, "status": "needs_operator"})
    end(connection, task.state, "needs_operator", outcome, now_ms)
    return Effect(None, "tasks", task.id, _detail(task, "needs_operator", run=run_id))


def doubt_all(connection: apsw.Connection, now_ms: int) -> list[Effect[None]]:
    """Hand to an operator every task that would be run, because it may have been run already."""
    if connection.pragma("user_version") not in WITH_TASKS:
        return []
    rest = "FROM tasks WHERE status = 'running' OR (status = 'queued' AND not_before_ms IS NOT NULL) ORDER BY seq"
    found = select(connection, Due, rest)
    for task in found:
        end(connection, task.state, "needs_operator", _why("restored"), now_ms)
    return [
        Effect(None, "tasks", task.id, _detail(task, "needs_operator", reason="restored"))
        for task in found
    ]


def _run_of(connection: apsw.Connection, task_id: str) -> str | None:
    """The run of a running task, if one was begun: those of earlier claims have ended."""
    found = connection.execute(
        "SELECT id FROM tool_runs WHERE task_id = ? AND status IN ('started', 'needs_operator')",
        (task_id,),
    )
    return next((str(run_id) for (run_id,) in found), None)


def _why(reason: str) -> bytes:
    return msgspec.json.encode({"reason": reason})


def _for(task: Due) -> dict[str, Json]:
    return {"task": task.id, "on_behalf_of": task.created_by}


def _detail(task: Due, status: str, **more: Json) -> dict[str, Json]:
    return {"status": status, "on_behalf_of": task.created_by, **more}
