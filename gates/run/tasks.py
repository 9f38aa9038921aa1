"""Tasks on their way: written down for the workers of a session, spread over them, and what came of them."""

import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
import pytest
from msgspec import Struct
from rich.console import Console

from chaos import regular
from chaos.errors import HarnessError
from gates.run.bench import Task, as_json, from_json
from gates.run.interrupts import Relay
from gates.run.progress import Progress
from gates.run.session import Session

R = TypeVar("R")

FILE: Final = "tasks.json"
_PLUGINS = (
    "gates.run.pytest_plugin",
    "no:terminal",
    "no:cacheprovider",
    "no:logging",
    "no:warnings",
    # Without warnings it has nobody to tell, and collects garbage for that again and again.
    "no:unraisableexception",
)


class _Written(Struct, frozen=True):
    """`tasks.json`: what kind they all are, `module:class`, and the tasks."""

    kind: str
    tasks: list[msgspec.Raw]


class Spread(Struct, Generic[R], frozen=True):
    """What came of tasks, in their order: None where nothing did. `lost` says why, where one was begun and not ended."""

    results: list[R | None]
    lost: list[str]
    interrupted: bool

    def complete(self) -> list[R]:
        """All of it. KeyboardInterrupt when it was interrupted; HarnessError says what could not be done."""
        if self.interrupted:
            raise KeyboardInterrupt
        found = [result for result in self.results if result is not None]
        missing = len(self.results) - len(found)
        if missing:
            why = "; ".join(self.lost[:3]) or "no worker took them"
            raise HarnessError(f"{missing} of {len(self.results)} could not be done: {why}")
        return found


def spread(
    session: Session,
    tasks: Sequence[Task[R]],
    console: Console,
    *,
    expression: str | None = None,
    first: bool = False,
) -> Spread[R]:
    """Have tasks of one kind done by the workers of a session, as items of pytest.

    An `expression`, pytest's -k, selects among them; with `first` nothing is begun once one is no success. A worker that
    dies costs the task that it was at; another takes its place.
    """
    if not tasks:
        return Spread([], [], interrupted=False)
    _write_tasks(session.path, tasks)
    workers = min(session.options.workers, len(tasks))
    arguments = [f"--gates-session={session.directory}", f"--rootdir={session.root}"]
    # Cut off there, so that pytest neither walks nor loads anything that stands above it.
    arguments += ["-c", os.devnull, f"--confcutdir={session.directory}", "--noconftest"]
    arguments += [f"-p{name}" for name in _PLUGINS]
    if workers > 1:
        arguments += ["-pxdist", f"-n{workers}", "--dist=worksteal"]
    if expression is not None:
        arguments += ["-k", expression]
    if first:
        arguments.append("-x")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # What somebody wants of their own tests is not meant for gates.
    for theirs in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(theirs, None)
    progress = Progress(console, tasks)
    outcome = pytest.main([*arguments, session.directory], plugins=[progress, Relay(session.path)])
    (session.path / FILE).unlink()
    return Spread(
        [progress.results.get(number) for number in range(len(tasks))],
        progress.lost,
        interrupted=outcome == pytest.ExitCode.INTERRUPTED,
    )


def read_tasks(directory: Path) -> list[Task[Any]]:
    """The tasks that were written down, in any worker."""
    written = from_json(regular.read(directory / FILE), _Written)
    kind: type[Task[Any]] = pkgutil.resolve_name(written.kind)
    return [from_json(task, kind) for task in written.tasks]


def _write_tasks(directory: Path, tasks: Sequence[Task[Any]]) -> None:
    kind = type(tasks[0])
    raw = [msgspec.Raw(as_json(task)) for task in tasks]
    written = _Written(f"{kind.__module__}:{kind.__name__}", raw)
    (directory / FILE).write_bytes(as_json(written))
