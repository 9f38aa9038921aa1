"""What moves over connections that are open: the kernel's own counts of their bytes, by sock_diag(7).

Toxiproxy counts a connection's bytes when it closes; the kernel counts them all the while, and tells the last of them
when a socket goes. Looked at is the proxy's end, on the port that a link listens on.
"""

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from chaos import sock_diag

_DESTROYED_TCP4: Final = 1 << 0
_INFO: Final = 2
_ESTABLISHED: Final = 1
# All states that have counts: not LISTEN, TIME_WAIT, CLOSE and those that are still being opened.
_STATES: Final = sum(1 << state for state in (1, 4, 5, 8, 9, 11))
_ACKED_AND_RECEIVED: Final = struct.Struct("=QQ")
_ACKED_AT: Final = 120
"""Where `tcpi_bytes_acked` and `tcpi_bytes_received` stand in `struct tcp_info`, since Linux 4.1."""


class Socket(NamedTuple):
    """The proxy's end of a connection: whose it is, and the kernel's cookie, which no other socket ever has."""

    client: str
    port: int
    cookie: bytes


class Moved(NamedTuple):
    """Bytes since the connection was made: from its client, and to it, where the end of the connection counts as one."""

    sent: int
    received: int
    open: bool


Counts = dict[Socket, Moved]

Told = tuple[str, int, int, bool, float, float]
"""Client, sent bytes, received bytes, whether it was open at first and is no more, and from when to when in milliseconds."""


def counts_in(
    messages: Iterable[sock_diag.Told | None], ports: frozenset[int]
) -> Iterator[tuple[Socket, Moved]]:
    """What messages of the kernel tell of sockets on these ports."""
    for told in messages:
        if told is not None and told.local_port in ports:
            info = _info_of(told.attributes)
            if len(info) >= _ACKED_AT + _ACKED_AND_RECEIVED.size:
                yield _counted(told, info)


def _counted(told: sock_diag.Told, info: bytes) -> tuple[Socket, Moved]:
    acked, received = _ACKED_AND_RECEIVED.unpack_from(info, _ACKED_AT)
    client = f"{sock_diag.address_of(told.family, told.remote)}:{told.remote_port}"
    # The first that is acknowledged is that there is a connection.
    moved = Moved(received, max(0, acked - 1), told.state == _ESTABLISHED)
    return Socket(client, told.local_port, told.cookie), moved


def _info_of(attributes: bytes) -> bytes:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind == _INFO:
            return attributes[offset + 4 : offset + length]
        offset += max(4, (length + 3) & ~3)
    return b""


class Kernel:
    """Asks the kernel. OSError where it does not tell (an old one, or a sandbox)."""

    def __init__(self) -> None:
        self._asking = sock_diag.open_socket()
        self._told = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, sock_diag.FAMILY)
        self._told.setblocking(False)
        self._told.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with contextlib.suppress(OSError):
            self._told.bind((0, _DESTROYED_TCP4))

    def counts(self, ports: frozenset[int]) -> Counts:
        """Of all connections to these ports that are there."""
        told = sock_diag.sockets(self._asking, socket.AF_INET, _STATES, extensions=1 << (_INFO - 1))
        return dict(counts_in(told, ports))

    def last_counts(self, ports: frozenset[int]) -> Counts:
        """Of those that have gone since they were asked for last."""
        found: Counts = {}
        while data := self._news():
            for one, moved in counts_in(sock_diag.told_in(data), ports):
                found[one] = moved._replace(open=False)
        return found

    def _news(self) -> bytes:
        """What the kernel tells of its own accord; nothing where that is all, or more than it keeps for us."""
        try:
            return self._told.recv(sock_diag.READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return self._news()


class Flow(NamedTuple):
    """A connection between two looks, and what it had moved at each."""

    from_s: float
    at_first: Moved
    to_s: float
    at_last: Moved


class Following:
    """One link's connections from one moment to another. Pure: what was looked at is passed in.

    Times are seconds on one clock. Of a connection that was not there at the first look, all bytes count.
    """

    def __init__(self, port: int, counts: Counts, asked_s: float, now_s: float) -> None:
        self.port = port
        self.flows = {
            one: Flow(asked_s, moved, now_s, moved)
            for one, moved in counts.items()
            if one.port == port
        }

    def look(self, counts: Counts, gone: Counts, now_s: float) -> None:
        """Take in a later look: what there is, and what has gone since the one before."""
        left = {one for one, flow in self.flows.items() if flow.at_last.open and one not in counts}
        for one, moved in {**counts, **gone}.items():
            if one.port == self.port:
                known = self.flows.get(one) or Flow(now_s, Moved(0, 0, open=True), now_s, moved)
                self.flows[one] = known._replace(to_s=now_s, at_last=moved)
        for one in left - gone.keys():
            known = self.flows[one]
            self.flows[one] = known._replace(to_s=now_s, at_last=known.at_last._replace(open=False))


class Follower:
    """Follows links, each under a key, for as long as it is asked to. Times of what it tells are of the run's clock."""

    def __init__(self, origin_s: float, listens: dict[str, int]) -> None:
        self._origin_s = origin_s
        self._listens = listens
        self._ports = frozenset(listens.values())
        self._kernel: Kernel | None = None
        self._followed: dict[str, Following] = {}

    def look(self) -> None:
        """One look at all that is followed."""
        if self._followed:
            self._look()

    def follow(self, key: str, link: str) -> None:
        """From now on; not where the kernel does not tell."""
        with contextlib.suppress(OSError):
            self._kernel = self._kernel or Kernel()
            self._begin(key, self._listens[link])

    def flows(self, key: str, *, over: bool) -> list[Told] | None:
        """What there was since then, or since it was asked for last: that ends it, or begins anew with this look.

        None where the kernel did not tell.
        """
        self.look()
        following = self._followed.pop(key, None)
        if following is None:
            return None
        if not over:
            self._begin(key, following.port)
        return [self._told(*one) for one in following.flows.items()]

    def _begin(self, key: str, port: int) -> None:
        asked_s, counts = time.monotonic(), self._look()
        if counts is not None:
            self._followed[key] = Following(port, counts, asked_s, time.monotonic())

    def _look(self) -> Counts | None:
        """What there is. Once the kernel stops telling, nothing is followed any more."""
        assert self._kernel is not None
        try:
            counts = self._kernel.counts(self._ports)
            # Afterwards: what went in between was counted.
            gone = self._kernel.last_counts(self._ports)
        except OSError:
            self._followed.clear()
            return None
        for following in self._followed.values():
            following.look(counts, gone, time.monotonic())
        return counts

    def _told(self, one: Socket, flow: Flow) -> Told:
        first, last = flow.at_first, flow.at_last
        return (
            one.client,
            last.sent - first.sent,
            last.received - first.received,
            first.open and not last.open,
            (flow.from_s - self._origin_s) * 1000,
            (flow.to_s - self._origin_s) * 1000,
        )
