"""Real commands in a real workspace."""

import asyncio
import os
from pathlib import Path

import pytest

from service.settings import Confinement, ToolsSettings
from service.tools.landlock import landlock_version
from service.tools.shell import MAX_OUTPUT_BYTES, ShellResult, run_shell
from service.tools.workspace import Workspace
from tests.service.running import until

LONG_S = 30.0
LIMITS = ToolsSettings(confinement=Confinement.NOT_REQUIRED)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory.resolve()


def shell(command: str, root: Path, timeout_s: float = LONG_S) -> ShellResult:
    return asyncio.run(run_shell(command, Workspace(root, LIMITS), timeout_s)).result


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_it_runs_in_the_workspace_and_reports(root: Path) -> None:
    ran = shell("pwd; echo oops >&2; echo made > here.txt; exit 3", root)
    assert (ran.exit_status, ran.stdout, ran.stderr) == (3, f"{root}\n", "oops\n")
    assert (root / "here.txt").read_text() == "made\n"


def test_no_secret_reaches_its_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONIA_PROVIDER_KEY", "very-secret")
    ran = shell("env", root)
    assert "very-secret" not in ran.stdout
    assert "SONIA" not in ran.stdout


def test_output_is_cut_and_says_so(root: Path) -> None:
    ran = shell("head -c 1000000 /dev/zero | tr '\\0' x", root)
    assert len(ran.stdout) == MAX_OUTPUT_BYTES
    assert ran.truncated


@pytest.mark.parametrize("timeout_s", [0, 0.3])
def test_too_long_is_told_whether_or_not_it_had_begun(root: Path, timeout_s: float) -> None:
    assert shell("sleep 300", root, timeout_s).exit_status is None


def test_what_is_cancelled_is_ended_with_everything_it_started(root: Path) -> None:
    started = root / "started"

    async def main() -> None:
        going = asyncio.create_task(
            run_shell(
                "sleep 300 & echo $! > new; mv new started; sleep 300",
                Workspace(root, LIMITS),
                LONG_S,
            )
        )
        await asyncio.to_thread(until, started.exists)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        pid = int(started.read_text())
        await asyncio.to_thread(until, lambda: not alive(pid))

    asyncio.run(main())


def test_a_child_that_keeps_the_pipes_is_not_waited_for(root: Path) -> None:
    ran = shell("sleep 300 & echo started", root)
    assert (ran.exit_status, ran.stdout) == (0, "started\n")


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_it_can_neither_read_nor_write_outside(root: Path) -> None:
    secret = root.parent / "secret.txt"
    secret.write_text("secret")
    ran = shell(
        f"cat {secret}; echo owned > {secret}; ln -s {secret} l; echo owned > l; cat /proc/1/environ",
        root,
    )
    assert ran.confinement == "landlock"
    assert "secret\n" not in ran.stdout
    assert secret.read_text() == "secret"


def test_it_can_read_and_run_what_the_system_has(root: Path) -> None:
    read = "wc -l < /etc/passwd > /dev/null && head -c 1 /dev/zero /dev/urandom /dev/random | wc -l"
    ran = shell(
        f"{read}; /usr/bin/env true && /bin/true && /bin/sh -c 'ls /usr /lib > /dev/null'", root
    )
    assert (ran.exit_status, ran.stderr) == (0, "")
