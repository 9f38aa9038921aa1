"""Which processes belong together, told by what a process cannot take off. Read from outside, through /proc.

A process may lose the mark in its environment (servers write their titles over it) and start a session of its
own, but not both its parent and its session without a trace: who has lost its parent is given to the nearest
process above that adopts orphans, which is the worker (`adopt_orphans`).

Imports nothing but the standard library, as processes that have to start at once use it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from chaos.marks import (
    PARENT,
    SESSION,
    STARTED,
    THREADS,
    all_pids,
    carries,
    environment_of,
    stat_of,
)

_SET_CHILD_SUBREAPER: Final = 36
_GONE: Final = (b"Z", b"X")


class Seen(NamedTuple):
    """A process that has not ended; `started` is in ticks of the kernel since it booted."""

    parent: int
    session: int
    started: int


Table = Mapping[int, Seen]
"""All processes by their ids."""


def seen(pid: int) -> Seen | None:
    """A process as it is now; None for one that has ended."""
    try:
        stat = stat_of(pid)
    except OSError:
        return None
    # The first thread may be over before the others, which hold all that it held.
    if stat[0] in _GONE and int(stat[THREADS]) <= 1:
        return None
    return _seen(stat)


def _seen(stat: Sequence[bytes]) -> Seen:
    return Seen(int(stat[PARENT]), int(stat[SESSION]), int(stat[STARTED]))


def table() -> dict[int, Seen]:
    """All processes but this one."""
    found = ((pid, seen(pid)) for pid in all_pids() if pid != os.getpid())
    return {pid: process for pid, process in found if process is not None}


def now_ticks() -> int:
    """Now, as `Seen.started` counts it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def family(found: Table, pids: Iterable[int], sessions: Iterable[int] = ()) -> set[int]:
    """Those of `pids` that are there, all in these sessions, all that came of them, and all in sessions of any of them.

    No process can join a session but by birth: whoever is in one of a member's came of the same beginning.
    """
    return _grown(found, pids, sessions, lambda pid: found[pid].session)


def _grown(
    found: Table, pids: Iterable[int], sessions: Iterable[int], session_of: Callable[[int], int]
) -> set[int]:
    """Those of `pids` that are there, all that came of them, and all in these sessions and in those that members stand for."""
    members = {pid for pid in pids if pid in found}
    within = set(sessions)
    before = -1
    while before != len(members):
        before = len(members)
        within |= {session_of(pid) for pid in members}
        members |= {
            pid
            for pid, process in found.items()
            if process.parent in members or process.session in within
        }
    return members


def marked(found: Table, mark: bytes, since: int) -> set[int]:
    """Those that carry a mark, among those that have started since then."""
    return {
        pid for pid, process in found.items() if process.started >= since and carries(pid, mark)
    }


class Tree:
    """A process and all that came of it, whatever became of the process itself.

    `pid` leads a session of its own; `mark` is in its environment and in no other tree's; `since` is a time just
    before it was started. What was a member once stays one.
    """

    def __init__(self, pid: int, mark: bytes, since: int) -> None:
        self.pid = pid
        self.is_over = False
        self._mark = mark
        self.since = since
        first = seen(pid)
        self._started = since if first is None else first.started
        self._known = {pid: self._started}

    def members(self, found: Table | None = None, others: Iterable[int] = ()) -> dict[int, Seen]:
        """All that have not ended; `others` are known to belong to it, by whatever sign."""
        if self.is_over:
            return {}
        found = table() if found is None else found
        pids = {pid for pid in self._known if pid in found and self._is_known(pid, found[pid])}
        members = self._gathered(found, {*pids, *others})
        self._known = {pid: found[pid].started for pid in members}
        return {pid: found[pid] for pid in members}

    def _gathered(self, found: Table, pids: set[int]) -> set[int]:
        """All that belongs to some of them."""
        # Its number may be somebody else's by now: then nobody was left in its session either.
        root = found.get(self.pid)
        sessions = {self.pid} if root is None or root.started == self._started else set[int]()
        members = family(found, pids, sessions)
        return members | family(found, marked(_without(found, members), self._mark, self.since))

    @property
    def known(self) -> Iterable[int]:
        """All that it had when it was looked at last."""
        return self._known.keys()

    def end(self) -> None:
        """Look no more: all of it has ended."""
        self.is_over = True

    def _is_known(self, pid: int, process: Seen) -> bool:
        return self._known[pid] == process.started


class Branch(Tree):
    """A process that another tree has started, and all that came of it: its children, and the sessions that these lead.

    The mark in its environment and mostly its session are those of the tree around it.
    """

    def __init__(self, pid: int, started: int) -> None:
        super().__init__(pid, b"", started)

    def _gathered(self, found: Table, pids: set[int]) -> set[int]:
        return _grown(found, pids, (), lambda pid: pid)


def _without(found: Table, pids: set[int]) -> Table:
    return {pid: process for pid, process in found.items() if pid not in pids}


def reap(started_here: Mapping[int, int], since: int) -> None:
    """Let go of all that this process adopted since then and that has ended: else it stays a zombie as long as this process lives.

    Never of a child that it started, in a session of its own, or in this one: how that has ended is for whoever waits for it.
    """
    try:
        # Mostly nobody has ended, which one question tells.
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
    except ChildProcessError:
        return
    for pid in all_pids():
        try:
            stat = stat_of(pid)
        except OSError:
            continue
        if stat[0] in _GONE and _is_adopted(pid, _seen(stat), started_here, since):
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


def _is_adopted(pid: int, process: Seen, started_here: Mapping[int, int], since: int) -> bool:
    """Whether a process is a child of this one that it did not start, and that began since then in a session of its own."""
    return (
        process.parent == os.getpid()
        and process.session != os.getsid(0)
        and process.started >= since
        and started_here.get(pid) != process.started
    )


def adopt_orphans() -> bool:
    """Become the parent of every process below this one that loses its own; False where the kernel does not let it."""
    import ctypes  # noqa: PLC0415 - only the worker needs it, which is not the one that has to start at once

    try:
        return bool(ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def orphans(found: Table, started_here: Mapping[int, int], mark: bytes, since: int) -> set[int]:
    """Children that this process adopted since then and that lost the mark of what it starts itself.

    `started_here` are those of its children that it started. One that is just being started may be none of them
    yet: until it has become its program it has the environment of this process, and afterwards the mark.
    """
    adopted = {
        pid for pid, process in found.items() if _is_adopted(pid, process, started_here, since)
    }
    if not adopted:
        return adopted
    environment = environment_of(os.getpid())
    return {
        pid
        for pid in adopted
        if mark not in (theirs := environment_of(pid)).split(b"\0") and theirs != environment
    }
