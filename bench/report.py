"""What was measured, as a table and as JSON."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table


class Measured(Struct, frozen=True, kw_only=True):
    """One comparison. `ratio` is None when it could not be measured, and `note` then says why.

    `aim` is the bound with its direction, `<= 0.5` or `>= 2`; without one the ratio is only shown.
    """

    part: str
    what: str
    ratio: float | None
    aim: str | None = None
    values: dict[str, float] = {}
    note: str | None = None

    def met(self) -> bool | None:
        """Whether the ratio is within its aim; None where that cannot be said."""
        if self.ratio is None or self.aim is None:
            return None
        comparison, bound = self.aim.split()
        return self.ratio <= float(bound) if comparison == "<=" else self.ratio >= float(bound)


def unmeasured(part: str, what: str, aim: str | None, why: str) -> Measured:
    """A comparison that could not be made."""
    return Measured(part=part, what=what, ratio=None, aim=aim, note=why)


def show(measured: Sequence[Measured], console: Console) -> None:
    """Print a table, then what was measured for each ratio."""
    table = Table("", "what", "ratio", "aim", "", title="Ratios, from this run on this machine")
    for row in measured:
        ratio = "not measured" if row.ratio is None else f"{row.ratio:.2f}"
        verdict = {True: "met", False: "NOT MET", None: ""}[row.met()]
        table.add_row(row.part, row.what, ratio, row.aim or "", verdict)
    console.print(table)
    for row in measured:
        values = ", ".join(f"{name} {_short(value)}" for name, value in row.values.items())
        console.print(f"{row.part} {row.what}: {values or row.note}", highlight=False)
        if values and row.note:
            console.print(f"  {row.note}", highlight=False)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def write(measured: Sequence[Measured], path: Path) -> None:
    """Write everything as JSON. Absolute numbers in it compare with nothing outside it."""
    machine = {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": sys.version.split()[0],
    }
    rows = [{**msgspec.to_builtins(row), "met": row.met()} for row in measured]
    document = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "on": machine}
    data = msgspec.json.encode({**document, "measured": rows})
    path.write_bytes(msgspec.json.format(data, indent=2) + b"\n")
