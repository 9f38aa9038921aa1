"""Allots ports outside the ephemeral range, so that no outgoing connection can take one first."""

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

from chaos.errors import HarnessError

LOWEST = 10_000
ENOUGH = 2_000
DEFAULT_EPHEMERAL = (32_768, 60_999)


def ephemeral_range() -> tuple[int, int]:
    """The range from which the kernel takes ports of outgoing connections."""
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        return DEFAULT_EPHEMERAL
    low, high = path.read_text().split()
    return int(low), int(high)


class PortPool:
    """Ports that are free and that no other run on this machine has been given.

    Each port is held by a lock on a file of its name: the lock goes with the process, whatever ends it.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.gettempdir()) / f"chaos-ports-{os.getuid()}"
        self._held: dict[int, int] = {}

    def take(self, tries: int = 500) -> int:
        """A free port on 127.0.0.1, held until `release`."""
        candidates = candidate_ports(*ephemeral_range())
        for _ in range(tries if candidates else 0):
            # Not the gate's seeded generator: ports must differ between workers with equal seeds.
            port = random.SystemRandom().choice(candidates)
            if self._hold(port, rested=True):
                return port
        raise HarnessError(f"no free port found in {candidates.start}-{candidates.stop - 1}")

    def take_exactly(self, port: int) -> int:
        """This port, or HarnessError naming it when something listens there already."""
        if not self._hold(port):
            raise HarnessError(
                f"port {port} is in use, or another run has it: stop what listens there and run again"
            )
        return port

    def release(self) -> None:
        """Give all ports back."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _open(self, port: int) -> int:
        try:
            self._directory.mkdir(exist_ok=True, mode=0o700)
            return os.open(self._directory / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HarnessError(
                f"cannot hold a port by a file in {self._directory}: {error.strerror}"
            ) from error

    def _hold(self, port: int, *, rested: bool = False) -> bool:
        if port in self._held:
            return False
        descriptor = self._open(port)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not _is_free(port, rested=rested):
            os.close(descriptor)
            return False
        self._held[port] = descriptor
        return True


def candidate_ports(low: int, high: int) -> range:
    """Where to look for ports, given the first and last of the ephemeral ones; empty when they are all."""
    below = range(LOWEST, low)
    above = range(high + 1, 65_536)
    return below if len(below) >= ENOUGH or len(below) >= len(above) else above


def _is_free(port: int, *, rested: bool) -> bool:
    """Whether a server can listen there; a `rested` port also has no connection left that has only just ended."""
    with socket.socket() as probe:
        if not rested:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
