"""Says what is going on while gates run: one live table on a terminal, plain lines elsewhere."""

import time

import pytest
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gates.judge.result import GateVerdict

STYLE = {"PASS": "green", "FAIL": "bold red", "UNKNOWN": "yellow"}


class Progress:
    """A pytest plugin of the controlling process.

    `verdicts` holds by gate what each of its runs was judged right afterwards, `slow` the gates that were
    UNKNOWN by the host.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.done: set[str] = set()
        self.verdicts: dict[str, list[str]] = {}
        self.slow: list[str] = []
        self.running: dict[str, float] = {}
        self.began = time.monotonic()
        self._live = Live(
            console=console, get_renderable=self._table, refresh_per_second=4, transient=True
        )

    def pytest_sessionstart(self) -> None:
        """Start drawing."""
        if self.console.is_terminal:
            self._live.start()

    def pytest_sessionfinish(self) -> None:
        """Stop drawing."""
        if self.console.is_terminal:
            self._live.stop()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A worker has begun a gate."""
        name = nodeid.rpartition("::")[2]
        self.running[name] = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A worker has finished a gate."""
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.rpartition("::")[2]
        found = dict(report.user_properties)
        status = found.get("verdict", "UNKNOWN")
        if "verdict" in found:
            self.verdicts.setdefault(str(found["gate"]), []).append(str(status))
        if found.get("cause") == "host":
            self.slow.append(str(found["gate"]))
        took_s = time.monotonic() - self.running.pop(name, time.monotonic())
        self.done.add(name)
        place = f"{len(self.done):3}/{self.total} "
        self._line(place, str(status), f"{name}  {took_s:.1f} s")
        if report.failed:
            # Of a gate that could not be judged at all there is only what pytest says.
            self._reason(str(found.get("detail") or report.longreprtext))

    def repeated(self, name: str, attempt: int, verdict: GateVerdict, took_s: float) -> None:
        """A gate was run again in the same session."""
        self.verdicts.setdefault(name, []).append(verdict.status)
        self._line(
            "  again ", verdict.status, f"{verdict.id} {name}, attempt {attempt}  {took_s:.1f} s"
        )
        if verdict.status != "PASS":
            self._reason(verdict.detail)

    def _line(self, place: str, status: str, what: str) -> None:
        line = Text.assemble((place, "dim"), (f"{status:8}", STYLE.get(status, "")), what)
        if self.console.is_terminal:
            self.console.print(line)
        else:
            self.console.out(line.plain, highlight=False)

    def _reason(self, text: str) -> None:
        self.console.print(Text(f"             {_first_line(text)}", style="dim"))

    def left_s(self) -> float | None:
        """Seconds that are left by the mean duration so far; None before the first gate is done."""
        if not self.done:
            return None
        elapsed = time.monotonic() - self.began
        return elapsed / len(self.done) * (self.total - len(self.done))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        left = self.left_s()
        about = f"about {left:.0f} s left" if left is not None else "time left not known yet"
        table.add_row(f"{len(self.done)} of {self.total} gates done", about)
        for name, began in list(self.running.items()):
            table.add_row(
                Text(f"running {name}", style="cyan"), f"{time.monotonic() - began:.1f} s"
            )
        return table


def _first_line(text: str, most_chars: int = 200) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= most_chars else line[: most_chars - 1] + "…"
