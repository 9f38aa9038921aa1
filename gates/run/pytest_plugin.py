"""Each task of a session is one pytest item, in whichever worker this is, so that selecting and parallel runs work as
people expect.

An item of a gate fails unless its verdict is PASS; no verdict of a release is ever taken from an outcome.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.errors import ChaosError
from gates.run import interrupts
from gates.run.bench import RESULT, Bench, Task, as_json
from gates.run.session import load_session
from gates.run.tasks import read_tasks

SESSION_OPTION = "gates_session"


class NoSuccess(Exception):
    """What a task came to is none; says why."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--gates-session` is given by whoever spreads tasks."""
    parser.addoption(
        "--gates-session", dest=SESSION_OPTION, default=None, help="directory of an opened session"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tasks are items only inside a session."""
    path = config.getoption(SESSION_OPTION)
    if path is not None:
        session = load_session(str(path))
        worker = getattr(config, "workerinput", {}).get("workerid")
        if worker is not None:
            interrupts.join(session.path, worker)
        config.pluginmanager.register(_Runner(Bench(session, worker or "main")), "gates-runner")


class _Runner:
    """Collects the tasks of a session and does them."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector:
        """The directory that was asked for holds the tasks of the session, whatever else is in it."""
        directory: TaskDirectory = TaskDirectory.from_parent(parent, path=path)
        directory.bench = self.bench
        return directory

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """A task has nothing to set up and nothing to tear down, so there is one report of it instead of three."""
        if not isinstance(item, TaskItem):
            return None
        hook = item.config.hook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        leave = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(item.runtest, when="call", reraise=leave)
        report = hook.pytest_runtest_makereport(item=item, call=call)
        hook.pytest_runtest_logreport(report=report)
        return True

    def pytest_sessionfinish(self) -> None:
        """End what the worker keeps between tasks."""
        self.bench.close()


class TaskDirectory(pytest.Directory):
    """The tasks of a session, in the order in which they are handed out."""

    bench: Bench

    def collect(self) -> Iterator[pytest.Item]:
        """One item per task, which is known by its number."""
        for number, task in enumerate(read_tasks(self.path)):
            item: TaskItem = TaskItem.from_parent(
                self, name=task.label, nodeid=f"{self.nodeid}::{number}"
            )
            item.task = task
            item.extra_keyword_matches.update(task.words)
            yield item


class TaskItem(pytest.Item):
    """One task."""

    parent: TaskDirectory
    task: Task[object]

    def runtest(self) -> None:
        """Do it, and hand over what comes of it."""
        interrupts.check()
        result = self.task.do(self.parent.bench)
        self.user_properties.append((RESULT, as_json(result).decode()))
        failure = self.task.failure(result)
        if failure is not None:
            raise NoSuccess(failure)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: object = None,  # noqa: ARG002  # pytest's signature
    ) -> str:
        """The reason in its own words; of what nobody foresaw also where it happened."""
        if isinstance(excinfo.value, NoSuccess | ChaosError):
            return str(excinfo.value)
        return f"{excinfo.exconly()}\n{super().repr_failure(excinfo)}"

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item comes from."""
        return self.path, 0, self.name
