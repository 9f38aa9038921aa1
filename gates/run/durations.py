"""How long gates took when they last ran, from what their runs recorded."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE

R = TypeVar("R", bound=Struct)
T = TypeVar("T")


class Took(Struct, frozen=True):
    """One run of a gate: seconds of wall time, and of processor time of its worker and of all that this started."""

    gate: str
    session: str
    wall_s: float
    harness_cpu_s: float
    started_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """All of it."""
        return self.harness_cpu_s + self.started_cpu_s


class _Begun(Struct):
    """What is read of the first record of a run, which earlier versions may have written."""

    mode: str


class _Ended(Struct):
    """The same of its end."""

    end_state: str
    finished_ms: float
    harness_cpu_ms: float = 0.0
    started_cpu_ms: float = 0.0


def last_runs(runs: Path) -> dict[str, Took]:
    """The last run of each gate among the sessions below `runs` that came to its end, by gate.

    Only of the system as it is: a defect may make a gate as slow as it likes.
    """
    found: dict[str, Took] = {}
    for session in sorted(runs.glob("*Z-*"), key=lambda path: path.name, reverse=True):
        for directory in sorted(session.glob("gates/0/*")):
            if directory.name not in found and (took := _took(session.name, directory)):
                found[directory.name] = took
    return found


def _took(session: str, directory: Path) -> Took | None:
    run = _first(directory / "runs.jsonl", _Begun)
    end = _first(directory / "run_ends.jsonl", _Ended)
    if run is None or end is None or (run.mode, end.end_state) != ("healthy", "completed"):
        return None
    return Took(
        directory.name,
        session,
        end.finished_ms / 1000,
        end.harness_cpu_ms / 1000,
        end.started_cpu_ms / 1000,
    )


def _first(path: Path, kind: type[R]) -> R | None:
    """The first row of a file; None where there is none that can be read."""
    try:
        return msgspec.json.decode(regular.read(path).split(b"\n", 1)[0], type=kind)
    except (OSError, *UNREADABLE):
        return None


def in_order(gates: Mapping[T, bool], took: Mapping[T, Took], workers: int) -> list[T]:
    """Gates, or trials of them, in the order in which they are handed out, so that the last ones end at about the same time.

    `gates` says of each whether it is exclusive. Each worker begins with a block of them, and takes from the blocks
    of others when its own is done. So the blocks take equally long, and long gates come first in each. An exclusive one
    comes before all, and what begins beside it is what is shortest, as it waits for their end. One that never ran
    counts as long.
    """
    seconds = {name: took[name].wall_s if name in took else float("inf") for name in gates}
    longest = max((s for s in seconds.values() if s < float("inf")), default=1.0)
    seconds = {name: min(s, longest) for name, s in seconds.items()}
    blocks: list[list[T]] = [[] for _ in range(workers)]
    busy = [0.0] * workers
    room = list(_sizes(len(gates), workers))
    for name in sorted(gates, key=lambda name: (not gates[name], -seconds[name])):
        open_ = [index for index in range(workers) if len(blocks[index]) < room[index]]
        least = min(open_, key=busy.__getitem__)
        blocks[least].append(name)
        busy[least] += seconds[name]
    if any(gates.values()):
        for block in blocks:
            first = min(block, key=lambda name: (not gates[name], seconds[name]))
            block.remove(first)
            block.insert(0, first)
    return [name for block in blocks for name in block]


def _sizes(count: int, workers: int) -> Iterator[int]:
    """How many gates each worker gets to begin with, as pytest-xdist shares them out."""
    for left in range(workers, 0, -1):
        size = count // left
        count -= size
        yield size
