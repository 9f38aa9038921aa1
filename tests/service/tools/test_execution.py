"""The safety gate of the tools process, and the pinned table."""

import asyncio
import os
from pathlib import Path

import pytest

from service.messages.tool_table import (
    TOOLS,
    BadArguments,
    UnknownTool,
    arguments_sha256,
    canonical_arguments,
)
from service.messages.tools import ExecuteTool, Outcome, ToolOutcome
from service.settings import Confinement, ToolsSettings
from service.tools.execution import NotApproved, execute, outcome_of_error
from service.tools.shell import missing_for_confinement
from service.tools.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    limits = ToolsSettings(
        confinement=Confinement.NOT_REQUIRED, max_workspace_bytes=100_000, max_workspace_files=20
    )
    return Workspace(tmp_path / "work", limits)


def run(
    workspace: Workspace,
    name: str,
    arguments: dict[str, object],
    approval: str | None = "policy:test",
) -> ToolOutcome:
    text = canonical_arguments(name, arguments)
    return asyncio.run(
        execute(name, ExecuteTool(text, arguments_sha256(text), approval), workspace, 10.0)
    )


def test_the_table_is_this_one() -> None:
    assert {name: tool.safety.value for name, tool in TOOLS.items()} == {
        "file.read": "safe_read",
        "file.write": "guarded_low",
        "shell.run": "guarded_high",
    }


def test_canonical_arguments_do_not_depend_on_order_and_name_every_default() -> None:
    first = canonical_arguments("file.write", {"path": "a", "content": "é"})
    second = canonical_arguments("file.write", {"content": "é", "path": "a", "append": False})
    assert first == second == '{"append":false,"content":"é","path":"a"}'


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("file.read", {}),
        ("file.read", {"path": ""}),
        ("file.read", {"path": "a", "mode": "rw"}),
        ("file.write", {"path": "a", "content": 7}),
        ("shell.run", {"command": "true", "timeout_s": 0}),
        ("shell.run", {"command": "true", "timeout_s": 10_000}),
    ],
)
def test_arguments_that_do_not_fit(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(BadArguments):
        canonical_arguments(name, arguments)


@pytest.mark.parametrize(
    ("name", "at_the_limit", "beyond"),
    [
        ("file.read", {"path": "a" * 1024}, {"path": "a" * 1025}),
        ("file.read", {"path": "a", "max_bytes": 1_048_576}, {"max_bytes": 1_048_577}),
        ("file.read", {"path": "a", "max_bytes": 1}, {"max_bytes": 0}),
        ("file.write", {"path": "a", "content": "x" * 1_048_576}, {"content": "x" * 1_048_577}),
        ("shell.run", {"command": "x" * 16_384}, {"command": "x" * 16_385}),
        ("shell.run", {"command": "x", "timeout_s": 20}, {"timeout_s": 20.001}),
    ],
    ids=["path", "most read", "least read", "content", "command", "time"],
)
def test_arguments_at_their_limits_and_beyond(
    name: str, at_the_limit: dict[str, object], beyond: dict[str, object]
) -> None:
    canonical_arguments(name, at_the_limit)
    with pytest.raises(BadArguments):
        canonical_arguments(name, {**at_the_limit, **beyond})


@pytest.mark.parametrize(
    ("name", "arguments", "canonical"),
    [
        ("file.read", {"path": "a"}, '{"max_bytes":1048576,"path":"a"}'),
        ("shell.run", {"command": "true"}, '{"command":"true","timeout_s":10}'),
    ],
)
def test_arguments_that_are_left_out(
    name: str, arguments: dict[str, object], canonical: str
) -> None:
    assert canonical_arguments(name, arguments) == canonical


def test_unknown_tools(workspace: Workspace) -> None:
    with pytest.raises(UnknownTool):
        canonical_arguments("file.delete", {})
    with pytest.raises(UnknownTool):
        asyncio.run(
            execute("file.delete", ExecuteTool("{}", arguments_sha256("{}")), workspace, 10.0)
        )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("file.write", {"path": "a", "content": "x"}), ("shell.run", {"command": "touch a"})],
)
def test_guarded_tools_need_an_approval(
    workspace: Workspace, name: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(NotApproved):
        run(workspace, name, arguments, approval=None)
    assert list(workspace.root.iterdir()) == []


def test_other_arguments_than_the_hashed_ones_never_run(workspace: Workspace) -> None:
    approved = canonical_arguments("shell.run", {"command": "true"})
    other = canonical_arguments("shell.run", {"command": "touch a"})
    call = ExecuteTool(other, arguments_sha256(approved), "confirmation:c1")
    with pytest.raises(NotApproved):
        asyncio.run(execute("shell.run", call, workspace, 10.0))
    assert list(workspace.root.iterdir()) == []


def test_outcomes(workspace: Workspace) -> None:
    assert run(workspace, "file.write", {"path": "a", "content": "x"}).outcome is Outcome.SUCCEEDED
    assert run(workspace, "file.read", {"path": "a"}, approval=None).result["content"] == "x"
    assert run(workspace, "file.read", {"path": "b"}).error_code == "not_found"
    assert run(workspace, "file.read", {"path": "../b"}).outcome is Outcome.REFUSED
    assert run(workspace, "shell.run", {"command": "exit 2"}).error_code == "exit_status"
    assert (
        run(workspace, "shell.run", {"command": "sleep 60", "timeout_s": 0.1}).outcome
        is Outcome.TIMED_OUT
    )


def test_no_tool_runs_longer_than_the_process_allows(workspace: Workspace) -> None:
    text = canonical_arguments("shell.run", {"command": "sleep 60", "timeout_s": 20.0})
    call = ExecuteTool(text, arguments_sha256(text), "policy:test")
    assert asyncio.run(execute("shell.run", call, workspace, 0.1)).outcome is Outcome.TIMED_OUT


def test_a_full_disk_is_a_failure_of_the_tool() -> None:
    outcome = outcome_of_error("file.write", OSError(28, "No space left on device"))
    assert (outcome.outcome, outcome.error_code) == (Outcome.FAILED, "os_error")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("loop", "path_outside_workspace"),
        ("loop/below", "path_outside_workspace"),
        ("circle", "path_outside_workspace"),
        ("dangling/x", "not_found"),
        ("x" * 300, "os_error"),
        ("/".join(["x" * 200] * 5), "not_found"),
        ("pipe/x", "path_outside_workspace"),
        ("a\0b", "path_outside_workspace"),
    ],
)
def test_whatever_a_path_leads_to_is_an_outcome(workspace: Workspace, path: str, code: str) -> None:
    """An error of the process would open its breaker, for all who call it."""
    (workspace.root / "loop").symlink_to("loop")
    (workspace.root / "circle").symlink_to("back")
    (workspace.root / "back").symlink_to("circle")
    (workspace.root / "dangling").symlink_to("nowhere")
    os.mkfifo(workspace.root / "pipe")
    read = run(workspace, "file.read", {"path": path})
    assert (read.error_code, read.result) == (code, {})
    written = run(workspace, "file.write", {"path": path, "content": "x"})
    assert written.outcome in Outcome


def test_a_command_that_no_system_takes_is_an_outcome(workspace: Workspace) -> None:
    assert run(workspace, "shell.run", {"command": "echo \0"}).error_code == "unusable_text"


def test_what_has_no_room_is_not_written(workspace: Workspace) -> None:
    fits, beyond = {"path": "a", "content": "x" * 50_000}, {"path": "b", "content": "x" * 60_000}
    assert run(workspace, "file.write", fits).outcome is Outcome.SUCCEEDED
    assert run(workspace, "file.write", beyond).error_code == "workspace_full"
    assert run(workspace, "file.write", {**beyond, "append": True}).error_code == "workspace_full"
    assert [each.name for each in workspace.root.iterdir()] == ["a"]
    for name in range(19):
        (workspace.root / f"{name}.txt").touch()
    assert run(workspace, "file.write", {"path": "c", "content": ""}).error_code == "workspace_full"


def test_a_full_workspace_is_told_to_whoever_fails_in_it(workspace: Workspace) -> None:
    (workspace.root / "big").write_bytes(bytes(200_000))
    if not missing_for_confinement():
        failed = run(workspace, "shell.run", {"command": "echo x > new"})
        assert failed.error is not None
        assert "the workspace is full" in failed.error
    command = "head -c 90000 /dev/zero > a; head -c 90000 /dev/zero > b"
    (workspace.root / "big").unlink()
    assert run(workspace, "shell.run", {"command": command}).error_code == "workspace_limit"
