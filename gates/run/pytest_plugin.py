"""Each gate file is one pytest item, so that selecting, parallel runs and JUnit XML work as people expect.

The outcome of an item follows its verdict, which comes from the evidence of its run; no verdict of a
release is ever taken from an outcome.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gates.judge.result import GateVerdict
from gates.run import interrupts
from gates.run.running import GateRunner
from gates.run.session import Listed, Session, load_session

SESSION_OPTION = "gates_session"
ALONE = "main"


class GateNotPassed(Exception):
    """The verdict of a gate's run was FAIL or UNKNOWN."""

    def __init__(self, verdict: GateVerdict) -> None:
        super().__init__(f"{verdict.status}: {verdict.detail}")
        self.verdict = verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--gates-session` is given by `python -m gates run`."""
    parser.addoption(
        "--gates-session", dest=SESSION_OPTION, default=None, help="directory of an opened session"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Gates are items only inside a session."""
    path = config.getoption(SESSION_OPTION)
    if path is not None:
        session = load_session(str(path))
        if worker_name() != ALONE:
            interrupts.join(session.path, worker_name())
        config.pluginmanager.register(_Runner(session), "gates-runner")


class _Runner:
    """Collects the gates of a session and runs them, in whichever worker this is."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.gates = GateRunner(session, worker_name())

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector:
        """The directory that was asked for holds the gates of the session, whatever else is in it."""
        directory: GateDirectory = GateDirectory.from_parent(parent, path=path)
        directory.runner = self
        return directory

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """A gate has nothing to set up and nothing to tear down, so there is one report of it instead of three."""
        if not isinstance(item, GateItem):
            return None
        hook = item.config.hook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        leave = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(item.runtest, when="call", reraise=leave)
        report = hook.pytest_runtest_makereport(item=item, call=call)
        hook.pytest_runtest_logreport(report=report)
        return True

    def pytest_sessionfinish(self) -> None:
        """End what the worker keeps between gates."""
        self.gates.close()


class GateDirectory(pytest.Directory):
    """The gates of a session, in its order. Nothing is looked for: what was frozen is what is run."""

    runner: _Runner

    def collect(self) -> Iterator[pytest.Collector]:
        """One file per gate."""
        session = self.runner.session
        for name in session.order:
            file: GateFile = GateFile.from_parent(self, path=session.file_of(name))
            file.gate, file.listed, file.runner = name, session.listed[name], self.runner
            yield file


class GateFile(pytest.File):
    """One YAML file with one item per repetition."""

    gate: str
    listed: Listed
    runner: _Runner

    def collect(self) -> Iterator[pytest.Item]:
        """One item, or one per repetition."""
        times = self.runner.session.options.repeat
        for repeat in range(times):
            name = f"{self.listed.id} {self.gate}" + (
                f" [{repeat + 1}/{times}]" if times > 1 else ""
            )
            item: GateItem = GateItem.from_parent(self, name=name)
            item.repeat = repeat
            item.extra_keyword_matches.update((self.listed.id, self.gate, self.listed.class_))
            yield item


class GateItem(pytest.Item):
    """One run of one gate."""

    parent: GateFile
    repeat: int

    def runtest(self) -> None:
        """Run it; anything but PASS fails the item."""
        verdict = self.parent.runner.gates.run(self.parent.gate, self.repeat)
        self.user_properties += [
            ("gate", self.parent.gate),
            ("verdict", verdict.status),
            ("cause", verdict.cause),
            ("detail", verdict.detail),
        ]
        if verdict.status != "PASS":
            raise GateNotPassed(verdict)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: object = None,  # noqa: ARG002  # pytest's signature
    ) -> str:
        """The verdict's own words, a line for each reason, without a traceback of the harness."""
        if isinstance(excinfo.value, GateNotPassed):
            return "\n".join(excinfo.value.verdict.reasons)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item comes from."""
        return self.path, 0, self.name


def worker_name() -> str:
    """The name of this worker, `main` without xdist."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")
