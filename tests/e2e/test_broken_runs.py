"""A run that cannot be carried out says why, keeps what it has recorded, leaves nothing behind and is UNKNOWN."""

import os
import signal
import socket
import subprocess

import pytest

from gates.release.report import EXIT_PROMOTE, EXIT_UNKNOWN
from tests.e2e.command import Command, Ended, until
from tests.e2e.conftest import SERVER, Project


def unknown(ended: Ended, command: Command, *said: str) -> None:
    """The run was UNKNOWN for these reasons, and nothing of it is left."""
    assert ended.exit == EXIT_UNKNOWN, ended.output
    for text in said:
        assert text in ended.output
    assert "HOLD (unknown: G1 late)" in ended.output
    assert command.processes() == {}
    assert command.left_behind() == []


def test_a_run_that_passes_leaves_nothing_but_its_evidence(project: Project) -> None:
    ended = project.command.finish("run")
    assert ended.exit == EXIT_PROMOTE, ended.output
    assert project.command.processes() == {}
    assert project.command.left_behind() == []
    (release,) = project.directory.glob("runs/*/release")
    assert project.command.finish("judge", str(release)).exit == EXIT_PROMOTE


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (
            "\"{python} -c 'print(41 + 1, flush=True); input()' \"",
            "web exited with 1 before it was ready",
        ),
        (
            "\"sh -c 'echo $((41 + 1)); exec sleep 60'\"\n    ready_within: 2s",
            "web was not ready within 2s:\n42",
        ),
        ('"no-such-program --port {port.web}"', "cannot run 'no-such-program'"),
    ],
    ids=["ends at once", "never ready", "no such program"],
)
def test_a_target_that_does_not_become_ready(project: Project, run: str, said: str) -> None:
    project.change("targets/files.yaml", SERVER, run)
    unknown(project.command.finish("run"), project.command, said, "nothing was measured")


def test_a_port_that_is_in_use(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project.change("targets/files.yaml", "port: 8080", f"port: {port}")
        project.change("gates/late.yaml", "target: files", "target: files\nnominal_ports: true")
        unknown(project.command.finish("run"), project.command, f"port {port} is in use")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "Toxiproxy ended with -9"),
        (signal.SIGSTOP, "Toxiproxy did not answer within"),
    ],
    ids=["killed", "stopped"],
)
def test_toxiproxy_that_goes_in_the_middle_of_a_fault(
    project: Project, number: int, said: str
) -> None:
    # What is on its way when Toxiproxy stops is never answered: there is no use in waiting for it.
    project.change("gates/late.yaml", "for: 1500ms", "for: 1500ms\n    within: 1s")
    command = project.command
    command.start("run")
    until(lambda: project.evidence("requests.calls"), "the load begins")
    (proxy,) = [pid for pid, line in command.processes().items() if "toxiproxy-server" in line]
    os.kill(proxy, number)
    unknown(command.end(), command, said)


def can_mount() -> bool:
    """Whether a file system can be mounted in a name space of one's own."""
    tried = ["unshare", "--map-root-user", "--mount", "true"]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
@pytest.mark.parametrize("size", ["96k", "24k"])
def test_a_full_disk(project: Project, size: str) -> None:
    """Where there is room for the start of a run only, and where there is none even for that."""
    command = project.command
    runs = project.directory / "runs"
    runs.mkdir()
    mount = f"mount -t tmpfs -o size={size} tmpfs {runs}"
    command.start_in(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"], "run"
    )
    ended = command.end()
    assert ended.exit in (2, 4), ended.output
    assert "No space left on device" in ended.output
    assert "Traceback" not in ended.output
    assert command.processes() == {}
    assert command.left_behind() == []
