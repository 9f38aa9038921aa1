"""However a run is ended, it is UNKNOWN, what was recorded is kept, nothing is left, and the next one works."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gates.release.report import EXIT_PROMOTE, EXIT_UNKNOWN
from tests.e2e.command import Command, until
from tests.e2e.conftest import Project


@pytest.fixture
def running(project: Project) -> Callable[[int], Command]:
    """Starts a run and waits until all workers are in the middle of a load that takes long."""
    project.change("gates/late.yaml", "for: 1500ms", "for: 60s")

    def start(workers: int) -> Command:
        if workers > 1:
            project.add_gate("later", "G2")
        project.command.start("run", "--workers", str(workers))
        until(lambda: len(project.evidence("requests.calls")) == workers, "the loads begin")
        return project.command

    return start


@pytest.mark.parametrize(
    ("send", "number", "workers"),
    [
        (os.killpg, signal.SIGINT, 2),
        (os.kill, signal.SIGINT, 1),
        (os.kill, signal.SIGTERM, 1),
        (os.kill, signal.SIGTERM, 2),
    ],
    ids=["ctrl-c", "sigint", "sigterm", "sigterm-many"],
)
def test_an_interrupt_closes_the_evidence_and_is_unknown(
    project: Project,
    running: Callable[[int], Command],
    workers: int,
    send: Callable[[int, int], None],
    number: int,
) -> None:
    command = running(workers)
    send(command.pid, number)
    ended = command.end()
    assert ended.exit == EXIT_UNKNOWN, ended.output
    assert "the run is interrupted" in ended.output
    assert "HOLD (interrupted; unknown: G1 late" in ended.output
    assert len(project.evidence("closings")) == workers
    assert command.processes() == {}
    assert command.left_behind() == []


def test_a_killed_runner_leaves_nothing_and_loses_nothing(
    project: Project, running: Callable[[int], Command]
) -> None:
    workers = 2
    command = running(workers)
    os.kill(command.pid, signal.SIGKILL)
    assert command.end().exit == -signal.SIGKILL
    # Workers finish their turn for some seconds before they give up on the controlling process.
    until(lambda: not command.processes(), "every process has ended")
    until(lambda: not command.left_behind(), "state directories are gone")
    assert len(project.evidence("requests.calls")) == workers


def test_a_killed_worker_costs_its_gate_alone(project: Project) -> None:
    project.change("gates/late.yaml", "for: 1500ms", "for: 4s")
    project.add_gate("later", "G2")
    command = project.command
    command.start("run", "--workers", "2")
    until(lambda: len(project.evidence("requests.calls")) == 2, "both loads begin")
    os.kill(worker_of(project.evidence("runs")[0]), signal.SIGKILL)
    ended = command.end()
    assert ended.exit == EXIT_UNKNOWN, ended.output
    assert "the run has no end" in ended.output
    assert "1 pass, 0 fail, 1 unknown" in ended.output
    assert command.processes() == {}
    until(lambda: not command.left_behind(), "state directories are gone")


def worker_of(runs: Path) -> int:
    """The process that records this run."""
    name = runs.read_text(encoding="utf-8").partition('"worker":"')[2].partition('"')[0]
    return int((runs.parents[3] / f"{name}.pid").read_text())


def test_the_run_after_an_interrupted_one_works(
    project: Project, running: Callable[[int], Command]
) -> None:
    command = running(1)
    os.kill(command.pid, signal.SIGKILL)
    command.end()
    project.change("gates/late.yaml", "for: 60s", "for: 1500ms")
    assert command.finish("run").exit == EXIT_PROMOTE
