"""Reads the kernel's table of TCP connections: which there are to some ports, open ones and just closed ones."""

import contextlib
import re
import time
from functools import lru_cache
from typing import NamedTuple

from chaos.sock_diag import decode_address

READ_BYTES = 1 << 16

ESTABLISHED, SYN_SENT, TIME_WAIT, LISTEN = b"01", b"02", b"06", b"0A"

# A line of /proc/net/tcp: both addresses, state, what the timer waits for, the socket's inode.
_LINE = (
    rb"\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]{2}) "
    rb"\S+ [0-9A-F]{2}:([0-9A-F]+) \S+ +\d+ +\d+ (\d+)"
)
_TICKS_PER_S = 100


class Client(NamedTuple):
    """A connection to a server: who from, and which of the watched ports."""

    address: str
    port: int
    server_port: int


class Piece(NamedTuple):
    """Whole lines of the kernel's table, and when they were read at the earliest and at the latest."""

    lines: bytes
    from_s: float
    to_s: float


class Look(NamedTuple):
    """What one look shows of a connection.

    `inode` is the client's socket while it is open. Once it has closed, the kernel will remember it until
    some time between `until_s` and `at_most_s`; both are 0 where that time is over and the kernel, which is
    seconds late with it, has not come to forget it yet.
    """

    inode: int = 0
    alive: bool = False
    until_s: float | None = None
    at_most_s: float | None = None

    def and_also(self, other: "Look") -> "Look":
        """The same connection seen from its other end."""
        ends = self if (self.until_s or 0) >= (other.until_s or 0) else other
        return Look(
            self.inode or other.inode, self.alive or other.alive, ends.until_s, ends.at_most_s
        )


@lru_cache(maxsize=1024)
def ip_of(text: bytes) -> str:
    """An address of /proc/net/tcp or tcp6; a mapped one is that of IPv4."""
    address = decode_address(text.decode())
    return address.removeprefix("::ffff:") if "." in address else address


def is_here(local: str, remote: str) -> bool:
    """Whether a connection to `remote` ends on this host."""
    return remote.startswith("127.") or remote in ("::1", local)


@lru_cache(maxsize=4)
def line_pattern(ports: frozenset[int]) -> re.Pattern[bytes]:
    """Lines that hold one of the ports: with thousands of others, only these are worth taking apart."""
    names = b"|".join(b"%04X" % port for port in sorted(ports))
    return re.compile(rb"^ *(?=[^\n]*:(?:" + names + rb") )" + _LINE, re.MULTILINE)


def parse_table(piece: Piece, ports: frozenset[int]) -> dict[Client, Look]:
    """Connections to the watched ports in a piece of the table, each seen from either end or both."""
    looks: dict[Client, Look] = {}
    if not ports:
        return looks
    known = {b"%04X" % port: port for port in ports}
    for fields in line_pattern(ports).findall(piece.lines):
        seen = _connection(fields, known, piece)
        if seen is not None:
            _add(looks, *seen)
    return looks


def _add(looks: dict[Client, Look], client: Client, look: Look) -> None:
    earlier = looks.get(client)
    looks[client] = look if earlier is None else look.and_also(earlier)


def _connection(
    fields: tuple[bytes, ...], ports: dict[bytes, int], piece: Piece
) -> tuple[Client, Look] | None:
    local, local_port, remote, remote_port, state, timer, inode = fields
    # What never was connected is not counted: Toxiproxy's failed dials are taken from its log.
    if state in (LISTEN, SYN_SENT):
        return None
    look = Look(alive=state == ESTABLISHED)
    if state == TIME_WAIT:
        left_s = int(timer, 16) / _TICKS_PER_S
        ends = (piece.from_s + left_s, piece.to_s + left_s) if left_s else (0.0, 0.0)
        look = Look(0, False, *ends)
    if remote_port in ports and is_here(ip_of(local), ip_of(remote)):
        client = Client(ip_of(local), int(local_port, 16), ports[remote_port])
        if inode != b"0":
            look = Look(int(inode), alive=True)
        return client, look
    if local_port in ports:
        return Client(ip_of(remote), int(remote_port, 16), ports[local_port]), look
    return None


def read_pieces() -> list[Piece]:
    """The kernel's tables, in the pieces in which it hands them out: each is timed on its own."""
    pieces = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rest = b""
        with contextlib.suppress(OSError), open(table, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs milliseconds of start-up
            from_s = time.monotonic()
            while data := file.read(READ_BYTES):
                to_s = time.monotonic()
                lines, newline, rest = (rest + data).rpartition(b"\n")
                pieces.append(Piece(lines + newline, from_s, to_s))
                from_s = to_s
    return pieces


def connections_in(pieces: list[Piece], ports: frozenset[int]) -> dict[Client, Look]:
    """All connections to the watched ports in the kernel's tables."""
    looks: dict[Client, Look] = {}
    for piece in pieces:
        for client, seen in parse_table(piece, ports).items():
            _add(looks, client, seen)
    return looks
