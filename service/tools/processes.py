"""The descendants of a process, from /proc. The standard library alone: the keeper starts with it."""

import os
import stat

from service.tools.usage import BLOCK_BYTES

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KIB = 1024


class Descendants:
    """Everybody who comes of process `ancestor`, as they were when last looked for."""

    def __init__(self, ancestor: int) -> None:
        self._ancestor = ancestor
        self._found: list[int] = []

    def look(self) -> int:
        """Find them anew; returns how many tasks they are, threads counted."""
        self._found = []
        tasks = 0
        waiting = [self._ancestor]
        while waiting:
            pid = waiting.pop()
            for task in _listed(f"/proc/{pid}/task"):
                tasks += pid != self._ancestor
                children = _read(f"/proc/{pid}/task/{task}/children").split()
                self._found += [int(each) for each in children]
                waiting += [int(each) for each in children]
        return tasks

    def pids(self) -> list[int]:
        """Those that were found."""
        return self._found

    def groups(self) -> set[int]:
        """The process groups of those that were found, which are theirs alone."""
        return {_group(pid) for pid in self._found} - {0, os.getpgid(self._ancestor)}

    def uses_more_than(self, limit_bytes: int) -> bool:
        """Whether they have more than so much memory together; what they share counts once."""
        resident = sum(_resident_bytes(pid) for pid in self._found)
        return resident > limit_bytes and self._shares_bytes() > limit_bytes

    def deleted_bytes(self) -> int:
        """What files take on disk that have no name any more, and are held open."""
        files = {}
        for pid in self._found:
            for each in _listed(f"/proc/{pid}/fd"):
                try:
                    status = os.stat(f"/proc/{pid}/fd/{each}")  # noqa: PTH116 - pathlib takes longer to import than all else here
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                    files[status.st_dev, status.st_ino] = status.st_blocks * BLOCK_BYTES
        return sum(files.values())

    def reached_by(self, target: int) -> bool:
        """Whether a signal to `target`, as `kill` takes it in 32 bits, reaches them alone."""
        if target == 0:
            return True
        self.look()
        if target < 1 << 31:
            return target in self._found
        return (1 << 32) - target in self.groups()

    def _shares_bytes(self) -> int:
        return sum(_share_bytes(pid) for pid in self._found)


def tasks_of_this_user() -> int:
    """How many tasks, threads counted, belong to whoever runs this."""
    me = os.geteuid()
    tasks = 0
    for each in _listed("/proc"):
        if each.isdigit():
            try:
                status = os.stat(f"/proc/{each}/task")  # noqa: PTH116 - as above
            except OSError:
                continue
            # A directory has two names more than directories in it.
            tasks += status.st_nlink - 2 if status.st_uid == me else 0
    return tasks


def children_offered() -> bool:
    """Whether this kernel tells who a process's children are."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110 - as above


def _resident_bytes(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if fields else 0


def _share_bytes(pid: int) -> int:
    """What a process has alone, and its share of what it has with others."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KIB
    return _resident_bytes(pid)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - as above
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(opened, 65536).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(opened)
