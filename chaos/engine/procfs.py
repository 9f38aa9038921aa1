"""Looks at processes from outside, through /proc."""

import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from chaos import sock_diag
from chaos.marks import all_pids, stat_of

LISTEN = 10
"""The state of a listening socket, in /proc/net/tcp and for sock_diag."""
_ACCEPTS, _UNIX_PATH = 0x10000, 7
"""The flag of a listening socket in /proc/net/unix, and the place of its path."""

_SHOWN = 80
_MOST_AWAKE_FIRST = "RDSITtZX"


class Sample(Struct, frozen=True):
    """Scheduler state letter, milliseconds of processor time so far, resident bytes and open descriptors."""

    state: str
    cpu_ms: float
    rss_bytes: int
    descriptors: int


def sample(pid: int) -> Sample | None:
    """One look; None when the process is gone."""
    return _sample(pid, _cpu_ms)


def _sample(pid: int, spent: Callable[[list[bytes]], float]) -> Sample | None:
    try:
        fields = stat_of(pid)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Sample(
            fields[0].decode(),
            spent(fields),
            pages * os.sysconf("SC_PAGE_SIZE"),
            descriptors,
        )
    except (OSError, IndexError):
        return None


def cpu_ms(pid: int) -> float:
    """Milliseconds of processor time so far; nothing of a process that is gone."""
    try:
        return _cpu_ms(stat_of(pid))
    except (OSError, IndexError):
        return 0.0


def _cpu_ms(fields: list[bytes]) -> float:
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _family_cpu_ms(fields: list[bytes]) -> float:
    """With what the children had spent that it has waited for."""
    return _cpu_ms(fields) + _cpu_ms(fields[2:])


def tree_sample(pids: Iterable[int]) -> Sample | None:
    """One look at several processes as one; None when all are gone.

    Its state is that of the most awake: it is stopped when all of it is. Time, memory (pages that are shared count for
    each) and descriptors are sums, with the time that ended children have left to their parents.
    """
    found = [one for one in (_sample(pid, _family_cpu_ms) for pid in pids) if one is not None]
    if not found:
        return None
    return Sample(
        min((one.state for one in found), key=_wakefulness),
        sum(one.cpu_ms for one in found),
        sum(one.rss_bytes for one in found),
        sum(one.descriptors for one in found),
    )


def _wakefulness(state: str) -> int:
    return _MOST_AWAKE_FIRST.index(state) if state in _MOST_AWAKE_FIRST else 0


class Listener(Struct, frozen=True):
    """A listening TCP socket; `inode` is what the descriptors of its owners lead to."""

    address: str
    port: int
    inode: str

    def __str__(self) -> str:
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


def listeners() -> list[Listener]:
    """All listening TCP sockets that can be reached from here, IPv4 before IPv6."""
    try:
        return list(_told_listeners())
    except OSError:
        return [listener for name in ("tcp", "tcp6") for listener in _printed_listeners(name)]


def _told_listeners() -> Iterator[Listener]:
    """As the kernel tells them. OSError where it does not."""
    with sock_diag.open_socket() as asking:
        for family in (socket.AF_INET, socket.AF_INET6):
            for told in sock_diag.sockets(asking, family, 1 << LISTEN):
                address = sock_diag.address_of(family, told.local)
                yield Listener(address, told.local_port, str(told.inode))


def _printed_listeners(name: str) -> Iterator[Listener]:
    """As /proc prints them, which takes a hundred times as long."""
    try:
        with open(f"/proc/net/{name}", encoding="ascii") as file:  # noqa: PTH123 - asked at every start
            next(file, None)
            # They come first: the connections after them may be thousands.
            for fields in itertools.takewhile(
                lambda found: int(found[3], 16) == LISTEN, map(str.split, file)
            ):
                address, _, port = fields[1].partition(":")
                yield Listener(sock_diag.decode_address(address), int(port, 16), fields[9])
    except OSError:
        return


def answering(host: str, port: int) -> list[Listener]:
    """The sockets that a connection to an IPv4 address may be answered by: those bound to it before those to all."""
    there = [one for one in listeners() if one.port == port]
    exactly = [one for one in there if one.address in (host, f"::ffff:{host}")]
    return exactly or [one for one in there if one.address in ("0.0.0.0", "::")]  # noqa: S104 - looked for


def socket_inodes(pid: int) -> set[str]:
    """Inodes of all sockets that a process holds; empty when it is gone."""
    return {link[8:-1] for link in open_files(pid) if link.startswith("socket:[")}


def open_files(pid: int) -> set[str]:
    """What the descriptors of a process lead to; empty when it is gone or somebody else's."""
    found = set()
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry.path))  # noqa: PTH115 - asked often
    return found


def listening_sockets(pids: Iterable[int]) -> list[tuple[int, Listener]]:
    """Every listening TCP socket of some processes, with who holds it."""
    held = [(pid, socket_inodes(pid)) for pid in pids]
    return [(pid, one) for one in listeners() for pid, inodes in held if one.inode in inodes]


def unix_sockets(pids: Iterable[int]) -> set[str]:
    """The paths of sockets of the file system that processes listen on, as `unix:/path`."""
    held = {inode for pid in pids for inode in socket_inodes(pid)}
    with contextlib.suppress(OSError):
        lines = (
            Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        )
        found = [line.split(maxsplit=7) for line in lines]
        return {
            f"unix:{fields[7]}"
            for fields in found
            if len(fields) > _UNIX_PATH and int(fields[3], 16) & _ACCEPTS and fields[6] in held
        }
    return set()


def holders(sockets: Iterable[Listener]) -> list[int]:
    """Who holds any of some sockets, as far as that may be looked at."""
    inodes = {one.inode for one in sockets}
    return [pid for pid in all_pids() if inodes & socket_inodes(pid)]


def command_of(pid: int) -> str:
    """What a process calls itself, in a few words; empty when it is gone."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
        return words.decode(errors="replace")[:_SHOWN]
    return ""
