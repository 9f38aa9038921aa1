"""Says what is going on while workers are busy: one live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import Generic, TypeVar

import pytest
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gates.run.bench import RESULT, Said, Task, from_json

STYLE = {"PASS": "green", "FAIL": "bold red", "UNKNOWN": "yellow"}

R = TypeVar("R")


class Progress(Generic[R]):
    """A pytest plugin of the controlling process, which hears of every task.

    `results` holds by number what came of each, `lost` why nothing did where one was begun.
    """

    def __init__(self, console: Console, tasks: Sequence[Task[R]]) -> None:
        self.results: dict[int, R] = {}
        self.lost: list[str] = []
        self._console, self._tasks = console, tasks
        self._done = self._kept = 0
        self._running: dict[int, float] = {}
        self._began_s = time.monotonic()
        self._live = Live(
            console=console, get_renderable=self._table, refresh_per_second=4, transient=True
        )

    def pytest_sessionstart(self) -> None:
        """Start drawing."""
        if self._console.is_terminal:
            self._live.start()

    def pytest_sessionfinish(self) -> None:
        """Stop drawing."""
        if self._console.is_terminal:
            self._live.stop()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A worker has begun a task."""
        self._running[_number(nodeid)] = time.monotonic()

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: pytest.TestReport) -> None:
        """A worker has died; its task is reported next."""
        report.longrepr = "the worker died"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A task has ended."""
        number = _number(report.nodeid)
        task = self._tasks[number]
        handed_over = dict(report.user_properties).get(RESULT)
        if handed_over is None:
            why = first_line(str(report.longrepr))
            self.lost.append(f"{task.label}: {why}")
            said = Said("UNKNOWN", task.label, [why])
        else:
            result: R = from_json(str(handed_over), task.gives)
            self.results[number] = result
            said = task.said(result)
        took_s = time.monotonic() - self._running.pop(number, time.monotonic())
        self._done += 1
        self._kept += said.tries == 0
        self._print(said, took_s)

    def _print(self, said: Said, took_s: float) -> None:
        """One line about a task, and one for each reason."""
        place = (f"{self._done:3}/{len(self._tasks)} ", "dim")
        outcome = (f"{said.outcome:10} ", STYLE.get(said.outcome, ""))
        after = f"  {took_s:.1f} s" if said.tries else " (kept)"
        if said.tries > 1:
            after += f" (at try {said.tries}: the host was slow)"
        line = Text.assemble(place, outcome, said.what, after)
        if self._console.is_terminal:
            self._console.print(line)
        else:
            self._console.out(line.plain, highlight=False)
        for reason in said.reasons:
            self._console.print(Text(f"             {first_line(reason)}", style="dim"))

    def left_s(self) -> float | None:
        """Seconds that are left by the mean duration so far; None before the first task is done."""
        made = self._done - self._kept
        if not made:
            return None
        elapsed = time.monotonic() - self._began_s
        return elapsed / made * (len(self._tasks) - self._done)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        left = self.left_s()
        about = f"about {left:.0f} s left" if left is not None else "time left not known yet"
        table.add_row(f"{self._done} of {len(self._tasks)} done", about)
        for number, began_s in list(self._running.items()):
            label = Text(f"running {self._tasks[number].label}", style="cyan")
            table.add_row(label, f"{time.monotonic() - began_s:.1f} s")
        return table


def first_line(text: str, most_chars: int = 200) -> str:
    """The first line of a text, cut where it is too long."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= most_chars else line[: most_chars - 1] + "…"


def _number(nodeid: str) -> int:
    return int(nodeid.rpartition("::")[2])
