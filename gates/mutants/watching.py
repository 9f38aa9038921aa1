"""A pytest plugin: says which lines of the system under test each test executes, in pytest's process and in others.

Environment: CHAOS_LINES_ROOT is the directory that the source is below, CHAOS_LINES_OUT where to write to,
`watched.json` at the end. Processes that a test starts tell their lines by `chaos/shims/lines`; what a process
executes counts for every test during which it lived, since a fixture may have started it for several.
"""

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import coverage
import msgspec
import pytest

from chaos import regular
from gates.mutants.watched import Execution, Watched
from gates.run.lines import OUT, ROOT, SHIM, Lines


class Watcher:
    """Watches one run of pytest."""

    def __init__(self, root: Path, out: Path) -> None:
        self._root, self._out = root, out
        self._coverage = coverage.Coverage(data_file=None, config_file=False, include=[f"{root}/*"])
        self._coverage.set_option("run:disable_warnings", ["no-data-collected"])
        self._ids: list[str] = []
        self._seconds: list[float] = []
        self._shared_s = 0.0
        self._lived: dict[Path, set[int]] = {}
        self._red: dict[str, None] = {}
        # What tests start is watched as well, and nothing before them.
        self._path = os.pathsep.join([str(SHIM), os.environ.get("PYTHONPATH", "")])
        self._coverage.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """A test with its fixtures is one context."""
        number = len(self._ids)
        self._ids.append(item.nodeid)
        told = self._out / str(number)
        told.mkdir()
        os.environ.update({"PYTHONPATH": self._path, ROOT: str(self._root), OUT: str(told)})
        for path in self._processes():
            if Path("/proc", path.name.partition("-")[0]).exists():
                self._lived[path].add(number)
        self._coverage.switch_context(str(number))
        began_s = self._own_s()
        try:
            return (yield)
        finally:
            self._seconds.append(self._own_s() - began_s)
            self._coverage.switch_context("")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        """What several tests share is not the time of the first of them."""
        began_s = time.monotonic()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self._shared_s += time.monotonic() - began_s

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that does not pass by itself shows nothing."""
        if report.failed:
            self._red[report.nodeid] = None

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Write down what was seen."""
        self._coverage.stop()
        imported, lines = self._lines()
        watched = Watched(
            tests=[
                Execution(id=name, seconds=seconds, lines=_sorted(lines[number]))
                for number, (name, seconds) in enumerate(zip(self._ids, self._seconds, strict=True))
                if name not in self._red
            ],
            imported=_sorted(imported),
            red=list(self._red),
            shared_s=self._shared_s,
        )
        (self._out / "watched.json").write_bytes(msgspec.json.encode(watched))

    def _own_s(self) -> float:
        """A clock that stands still while something shared is set up."""
        return time.monotonic() - self._shared_s

    def _processes(self) -> Iterator[Path]:
        """Files of processes that have told something so far; each belongs to the test that started it."""
        for number in range(len(self._ids)):
            for path in (self._out / str(number)).glob("*.json"):
                self._lived.setdefault(path, {number})
                yield path

    def _lines(self) -> tuple[dict[str, set[int]], list[dict[str, set[int]]]]:
        """Lines executed outside of all tests, and those of each."""
        outside: dict[str, set[int]] = {}
        found: list[dict[str, set[int]]] = [{} for _ in self._ids]
        data = self._coverage.get_data()
        for path in data.measured_files():
            file = os.path.relpath(path, self._root)
            for line, contexts in data.contexts_by_lineno(path).items():
                for context in contexts:
                    into = found[int(context)] if context else outside
                    into.setdefault(file, set()).add(line)
        for process in list(self._processes()):
            told = msgspec.json.decode(regular.read(process), type=dict[str, set[int]])
            for number in self._lived[process]:
                for file, lines in told.items():
                    found[number].setdefault(file, set()).update(lines)
        return outside, found


def _sorted(lines: dict[str, set[int]]) -> Lines:
    return {file: sorted(each) for file, each in sorted(lines.items())}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Watch as the environment asks, before conftest.py imports what is tested."""
    root, out = os.environ.pop(ROOT), os.environ.pop(OUT)
    early_config.pluginmanager.register(Watcher(Path(root), Path(out)), "watcher")
    return (yield)
