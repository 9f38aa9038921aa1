"""Durable work without a request: functions on a connection, which any process can call."""

import apsw
import pytest

from service.domain.confirmations import records as confirmations
from service.domain.confirmations.records import NewConfirmation, Overdue
from service.domain.policies import records as policies
from service.domain.sessions import ending
from service.domain.sessions import records as sessions
from service.domain.tasks import claims
from service.domain.tasks import records as tasks
from service.domain.tasks.records import NewTask
from service.domain.tools.records import ToolRun
from service.effects import Effect, Origin
from service.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from service.messages.tool_table import TOOLS, canonical_arguments

NOW_MS = 1_000_000
SOMEBODY = Origin("tok_somebody", "req_1", NOW_MS)
TOOL = "shell.run"


def later(ms: int) -> Origin:
    return Origin("tok_another", "req_2", NOW_MS + ms)


def test_a_session_is_opened_and_closed(connection: apsw.Connection) -> None:
    opened = sessions.open_session(connection, "ses_1", "mine", 5_000, SOMEBODY)
    assert (opened.table, opened.id) == ("sessions", "ses_1")
    assert (opened.result.status, opened.result.created_by) == ("open", "tok_somebody")
    assert opened.result.expires_at_ms == NOW_MS + 5_000
    with pytest.raises(Conflict, match="expired"):
        ending.close_session(connection, "ses_1", later(5_000))
    assert ending.close_session(connection, "ses_1", later(4_999)).id == "ses_1"
    with pytest.raises(Conflict, match="closed"):
        ending.close_session(connection, "ses_1", later(4_999))
    with pytest.raises(NotFound):
        ending.close_session(connection, "ses_2", SOMEBODY)


def test_a_task_is_queued_and_called_off(connection: apsw.Connection) -> None:
    made = tasks.create_task(connection, "task_1", NewTask("clean", {"room": 1}), SOMEBODY)
    assert (made.result.status, bytes(made.result.payload)) == ("queued", b'{"room":1}')
    assert dict(made.detail) == {"kind": "clean"}
    ended = claims.cancel_task(connection, "task_1", later(7))
    assert (ended.result.status, ended.result.updated_at_ms) == ("cancelled", NOW_MS + 7)
    assert dict(ended.detail) == {"was": "queued", "status": "cancelled"}
    with pytest.raises(Conflict, match="cancelled"):
        claims.cancel_task(connection, "task_1", later(8))


def test_a_task_of_a_session_that_is_over_is_not_queued(connection: apsw.Connection) -> None:
    sessions.open_session(connection, "ses_1", "", 5_000, SOMEBODY)
    with pytest.raises(Conflict):
        tasks.create_task(connection, "task_1", NewTask("x", session_id="ses_1"), later(5_000))
    with pytest.raises(NotFound):
        tasks.find(connection, "task_1")


@pytest.fixture
def waiting(connection: apsw.Connection) -> str:
    """The hash of the arguments of a call that waits for a second."""
    arguments = canonical_arguments(TOOL, {"command": "true"})
    new = NewConfirmation("conf_1", TOOL, arguments.encode(), None, 1_000)
    return confirmations.create_confirmation(connection, new, SOMEBODY).result.args_sha256


def approve(connection: apsw.Connection, sha256: str, origin: Origin) -> Effect[ToolRun]:
    return confirmations.approving("conf_1", sha256, "run_1", lambda: origin).run(connection)


def test_one_decision_is_taken(connection: apsw.Connection, waiting: str) -> None:
    approved = approve(connection, waiting, later(999))
    assert (approved.result.run_id, approved.result.approval) == ("run_1", "confirmation:conf_1")
    row = confirmations.find(connection, "conf_1", NOW_MS)
    assert (row.status, row.decided_by, row.decided_at_ms) == (
        "approved",
        "tok_another",
        NOW_MS + 999,
    )
    assert connection.execute("SELECT id, status FROM tool_runs").fetchall() == [
        ("run_1", "started")
    ]
    with pytest.raises(Conflict, match="decided already"):
        confirmations.denying("conf_1", lambda: later(999)).run(connection)


def test_what_is_not_approved(connection: apsw.Connection, waiting: str) -> None:
    with pytest.raises(Conflict, match="hash"):
        approve(connection, "0" * 64, SOMEBODY)
    with pytest.raises(Overdue):
        approve(connection, waiting, later(1_000))
    name = TOOLS[TOOL].safety.value
    version = policies.find(connection, name).version
    policies.set_policy(connection, name, "deny", version, SOMEBODY)
    with pytest.raises(Forbidden, match="policy"):
        approve(connection, waiting, SOMEBODY)
    assert confirmations.find(connection, "conf_1", NOW_MS).status == "pending"
    assert connection.execute("SELECT count(*) FROM tool_runs").fetchall() == [(0,)]


def test_a_policy_is_replaced_at_the_version_that_was_seen(connection: apsw.Connection) -> None:
    name = TOOLS[TOOL].safety.value
    before = policies.find(connection, name)
    changed = policies.set_policy(connection, name, "deny", before.version, SOMEBODY)
    assert (changed.result.decision, changed.result.version) == ("deny", before.version + 1)
    assert dict(changed.detail) == {"from": before.decision, "to": "deny", "version": 2}
    with pytest.raises(PreconditionFailed):
        policies.set_policy(connection, name, "allow", before.version, SOMEBODY)
