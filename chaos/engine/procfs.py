"""Looks at processes from outside, through /proc."""

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

LISTEN = "0A"


class Sample(Struct, frozen=True):
    """Scheduler state letter, milliseconds of processor time so far, resident bytes and open descriptors."""

    state: str
    cpu_ms: float
    rss_bytes: int
    descriptors: int


def sample(pid: int) -> Sample | None:
    """One look; None when the process is gone."""
    try:
        fields = _stat(pid)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Sample(
            fields[0],
            _cpu_ms(fields),
            pages * os.sysconf("SC_PAGE_SIZE"),
            descriptors,
        )
    except (OSError, IndexError):
        return None


def cpu_ms(pid: int) -> float:
    """Milliseconds of processor time so far; nothing of a process that is gone."""
    try:
        return _cpu_ms(_stat(pid))
    except (OSError, IndexError):
        return 0.0


def _stat(pid: int) -> list[str]:
    """From the third field on, as the second may contain anything; proc_pid_stat(5) counts from 1."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - asked often
        return file.read().rpartition(")")[2].split()


def _cpu_ms(fields: list[str]) -> float:
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def socket_inodes(pid: int) -> set[str]:
    """Inodes of all sockets that a process holds; empty when it is gone."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                link = str(entry.readlink())
                if link.startswith("socket:["):
                    found.add(link[8:-1])
    return found


def listening_sockets(pid: int) -> list[tuple[str, int]]:
    """(address, port) of every listening TCP socket of a process."""
    inodes = socket_inodes(pid)
    return [(address, port) for address, port, inode in _listeners(pid) if inode in inodes]


def _listeners(pid: int) -> Iterator[tuple[str, int, str]]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN:
                address, _, port = fields[1].partition(":")
                yield decode_address(address), int(port, 16), fields[9]


def decode_address(text: str) -> str:
    """An address as the kernel prints it (32-bit words in host order) in its usual form."""
    words = [
        int(text[index : index + 8], 16).to_bytes(4, sys.byteorder)
        for index in range(0, len(text), 8)
    ]
    return str(ipaddress.ip_address(b"".join(words)))
