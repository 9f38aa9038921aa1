"""Which lines of a copy the processes of a run execute: how they are asked to tell, and what they have told."""

from pathlib import Path
from typing import TypeAlias

import msgspec

from chaos import regular

SHIM = Path(__file__).resolve().parents[2] / "chaos" / "shims" / "lines"
ROOT, OUT, ONLY = "CHAOS_LINES_ROOT", "CHAOS_LINES_OUT", "CHAOS_LINES_ONLY"

Lines: TypeAlias = dict[str, list[int]]
"""Lines by file, below the root."""


def telling(root: Path, out: Path) -> dict[str, str]:
    """The environment in which processes tell in `out` all lines that they execute below `root`."""
    out.mkdir()
    return {"PYTHONPATH": str(SHIM), ROOT: str(root), OUT: str(out)}


def told(out: Path) -> dict[str, set[int]]:
    """What all processes have told there, together."""
    together: dict[str, set[int]] = {}
    for path in sorted(out.glob("*.json")):
        of_one = msgspec.json.decode(regular.read(path), type=dict[str, set[int]])
        for file, lines in of_one.items():
            together.setdefault(file, set()).update(lines)
    return together
