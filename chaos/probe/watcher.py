"""The watching process: who connects to a link's proxy, and who goes past it.

Started by `chaos.connections` as a plain file, with nothing but the standard library. Every few
milliseconds it looks at the kernel's table of TCP connections and then at what Toxiproxy has logged, in
this order: Toxiproxy logs a client before it dials the server, so whatever it dialled in a look is
already in the log that is read after it.

Going past is told in two ways. A connection that is open is attributed by its socket: it is Toxiproxy's, or
it belongs to another process of the stack. One that has closed has no owner any more, but stays visible in
TIME_WAIT for a minute; every such connection needs a client of its own that Toxiproxy accepted at most
`WINDOW_S` before the look that did not show it yet. Where there are more connections than clients, the
rest went past. Accepted clients without a connection (refused, reset) expire, so they cannot lend themselves to a by-pass later.

Input: one JSON object to begin with (see `Config`), then `{"id": n, "do": "sync"}` or `{"id": n, "do":
"finish"}`; both are answered with `{"id": n}` after a look. Output without an id is news: `accepted` is a list
of [link, client, ms], `passed` one of {port, client, pids, command, ms}.
"""

import contextlib
import json
import os
import re
import selectors
import socket
import sys
import time
from collections import deque
from functools import lru_cache
from typing import NamedTuple, TypedDict

INTERVAL_S = 0.04
MOST_OF_A_CORE = 0.1
WINDOW_S = 1.0
SETTLE_S = 1.0
FORGET_S = 5.0
FORGET_TURNS = 3
LATER_END_S = 0.5
LONGEST_REST_S = 0.5
READ_BYTES = 1 << 16
MOST_REPORTS_PER_PORT = 100
MOST_SEARCHED = 100_000

ESTABLISHED, SYN_SENT, TIME_WAIT, LISTEN = b"01", b"02", b"06", b"0A"

# A line of /proc/net/tcp: both addresses, state, what the timer waits for, the socket's inode.
_LINE = (
    rb"\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]{2}) "
    rb"\S+ [0-9A-F]{2}:([0-9A-F]+) \S+ +\d+ +\d+ (\d+)"
)
_TICKS_PER_S = 100


class Config(TypedDict):
    """What to watch. `ports` maps a server's port (as text) to whether going past its proxy is of interest.

    `links` maps a link to the port of its server; `past` are source addresses of the harness itself.
    """

    origin_s: float
    log: str
    proxy_pid: int
    marker: str
    links: dict[str, int]
    ports: list[int]
    past: list[str]


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
    some time between `until_s` and `at_most_s`.
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
    """An address of /proc/net/tcp or tcp6, where every 32 bits stand in the machine's byte order."""
    raw = bytes.fromhex(text.decode())
    raw = b"".join(
        raw[i : i + 4][:: -1 if sys.byteorder == "little" else 1] for i in range(0, len(raw), 4)
    )
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    if raw[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


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
        look = Look(0, False, piece.from_s + left_s, piece.to_s + left_s)
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


class Known(NamedTuple):
    """What is remembered of a connection: when it was seen last, and what was seen of it."""

    turn: int
    seen_s: float
    inode: int
    alive: bool
    at_most_s: float | None


def _is_new(known: Known | None, seen: Look) -> bool:
    """Whether a connection is another one than that which had the same addresses before.

    The kernel gives a client's port to a new connection while it still remembers an old one, after a second
    at the earliest. One that has closed again can be told by its later end of remembrance alone.
    """
    if known is None:
        return True
    if seen.inode and known.inode:
        return seen.inode != known.inode
    if seen.until_s is not None and known.at_most_s is not None:
        return seen.until_s - known.at_most_s > LATER_END_S
    return seen.alive and not known.alive and known.inode == 0


class Ledger:
    """Sets connections off against accepted clients. Pure: times and owners are passed in.

    Times are seconds on one clock and never go back.
    """

    def __init__(self) -> None:
        self._accepted: dict[int, deque[float]] = {}
        self._known: dict[Client, Known] = {}
        self._open: dict[Client, tuple[float, float]] = {}
        self._looked_s = 0.0
        self._turn = 0

    def accepted(self, port: int, now_s: float) -> None:
        """Toxiproxy accepted a client whose server has this port."""
        self._accepted.setdefault(port, deque()).append(now_s)

    def not_dialled(self, port: int) -> None:
        """It could not reach the server for the last client."""
        if self._accepted.get(port):
            self._accepted[port].pop()

    def look(self, looks: dict[Client, Look], now_s: float, *, first: bool = False) -> None:
        """Take in a look. What is there at the first one came before anything was counted."""
        # On a busy machine looks may lie seconds apart; a client that was logged at the last one may have
        # been dialled right after it.
        since_s, self._looked_s = (now_s if first else self._looked_s), now_s
        self._turn += 1
        for client, seen in looks.items():
            known = self._known.get(client)
            if _is_new(known, seen) and (not first or seen.inode):
                self._open[client] = (since_s, now_s)
            self._known[client] = Known(
                self._turn,
                now_s,
                seen.inode or (known.inode if known else 0),
                seen.alive,
                seen.at_most_s,
            )
        # A look may miss an end that is just changing its state: being away once proves nothing.
        for client in [
            client
            for client, known in self._known.items()
            if now_s - known.seen_s > FORGET_S and self._turn - known.turn > FORGET_TURNS
        ]:
            del self._known[client]

    def unowned(self) -> dict[Client, int]:
        """Connections that are not attributed yet, with the client's socket where it was seen open."""
        return {client: self._known[client].inode for client in self._open if client in self._known}

    def is_proxied(self, client: Client) -> None:
        """The connection is Toxiproxy's: it takes up the latest client that was accepted."""
        self._open.pop(client, None)
        if self._accepted.get(client.server_port):
            self._accepted[client.server_port].pop()

    def is_other(self, client: Client) -> None:
        """The connection belongs to somebody who is known."""
        self._open.pop(client, None)

    def forgive(self) -> None:
        """Drop what could not be attributed: it came before anything was counted."""
        self._open.clear()

    def settle(self, now_s: float, *, all_of_them: bool = False) -> list[Client]:
        """Set old connections off, oldest first, and return those for which no client was accepted."""
        past = []
        for client, (since_s, seen_s) in sorted(self._open.items(), key=lambda item: item[1][1]):
            if not all_of_them and now_s - seen_s < SETTLE_S:
                break
            del self._open[client]
            if not self._take(client.server_port, since_s, seen_s):
                past.append(client)
        oldest_s = min((since_s for since_s, _ in self._open.values()), default=now_s - SETTLE_S)
        for times in self._accepted.values():
            while times and times[0] < oldest_s - WINDOW_S - SETTLE_S:
                times.popleft()
        return past

    def _take(self, port: int, since_s: float, seen_s: float) -> bool:
        times = self._accepted.get(port, deque())
        for index, accepted_s in enumerate(times):
            if since_s - WINDOW_S <= accepted_s <= seen_s:
                del times[index]
                return True
        return False


class Log:
    """Reads what Toxiproxy appends to its log."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def news(self) -> list[tuple[str, str, bool]]:
        """(link, client, accepted) of every new line about a client; not accepted is not dialled."""
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:  # noqa: PTH123 - pathlib costs milliseconds of start-up
            file.seek(self._offset)
            data = file.read()
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            return [found for line in lines if (found := client_of(line)) is not None]
        return []


def client_of(line: bytes) -> tuple[str, str, bool] | None:
    """(link, client, accepted) of a line of Toxiproxy's log, None for a line about something else."""
    accepted = b'"Accepted client"' in line
    if not accepted and b'"Unable to open connection to upstream"' not in line:
        return None
    try:
        fields = json.loads(line)
        return str(fields["name"]), str(fields["client"]), accepted
    except (ValueError, KeyError, TypeError):
        return None


def sockets_of(pid: int) -> set[int]:
    """Inodes of the sockets that a process holds; none where it has ended or may not be looked at."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)  # noqa: PTH115 - as above
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def parents_of(pid: int) -> list[int]:
    """A process and those above it, innermost first."""
    line = [pid]
    with contextlib.suppress(OSError, ValueError, IndexError):
        while line[-1] > 1:
            stat = read(f"/proc/{line[-1]}/stat")
            line.append(int(stat.rpartition(b")")[2].split()[1]))
    return line


def read(path: str) -> bytes:
    """All of a file."""
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        return file.read()


def is_marked(pid: int, marker: bytes) -> bool:
    """Whether a process carries the stack's marker in its environment."""
    try:
        return marker in read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return False


class Watcher:
    """Looks, attributes, settles, reports."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.ledger = Ledger()
        self.log = Log(config["log"])
        self.ports = frozenset(config["ports"])
        self.first = True
        self.searched: set[int] = set()
        self.reported: dict[int, int] = {}

    def look(self, *, last: bool = False) -> None:
        """One look at everything."""
        pieces = read_pieces()
        # Toxiproxy's log right after the kernel's table: what was dialled in one was accepted in the other.
        accepted = self.log.news()
        now_s = time.monotonic()
        looks = connections_in(pieces, self.ports)
        self._count(accepted, now_s)
        past = self.config["past"]
        others = {client: seen for client, seen in looks.items() if client.address not in past}
        self.ledger.look(others, now_s, first=self.first)
        self._attribute(now_s)
        if self.first:
            self.ledger.forgive()
            self.first = False
        for client in self.ledger.settle(now_s, all_of_them=last):
            self._report(client, [], now_s)

    def _count(self, accepted: list[tuple[str, str, bool]], now_s: float) -> None:
        news = []
        at_ms = (now_s - self.config["origin_s"]) * 1000
        for link, client, was_accepted in accepted:
            port = self.config["links"].get(link)
            if port is None:
                continue
            if was_accepted:
                self.ledger.accepted(port, now_s)
                news.append([link, client, at_ms])
            else:
                self.ledger.not_dialled(port)
        if news:
            reply({"seen": {"accepted": news}})

    def _attribute(self, now_s: float) -> None:
        unowned = {client: inode for client, inode in self.ledger.unowned().items() if inode}
        if not unowned:
            return
        proxied = sockets_of(self.config["proxy_pid"])
        for client, inode in unowned.items():
            if inode in proxied:
                self.ledger.is_proxied(client)
        left = {
            inode: client
            for client, inode in unowned.items()
            if inode not in proxied and inode not in self.searched
        }
        if left:
            # Once: a socket that nobody holds now has closed, and is set off by number.
            self.searched = (
                self.searched | left.keys() if len(self.searched) < MOST_SEARCHED else set(left)
            )
            self._find_owners(left, now_s)

    def _find_owners(self, left: dict[int, Client], now_s: float) -> None:
        marker = self.config["marker"].encode()
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:  # noqa: PTH208 - as above
            for inode in sockets_of(pid) & left.keys():
                client = left.pop(inode)
                self.ledger.is_other(client)
                line = parents_of(pid)
                if any(is_marked(one, marker) for one in line):
                    self._report(client, line, now_s)
            if not left:
                return

    def _report(self, client: Client, pids: list[int], now_s: float) -> None:
        count = self.reported.get(client.server_port, 0) + 1
        self.reported[client.server_port] = count
        if count > MOST_REPORTS_PER_PORT:
            return
        command = ""
        with contextlib.suppress(OSError):
            command = read(f"/proc/{pids[0]}/comm").decode(errors="replace").strip() if pids else ""
        past = {
            "port": client.server_port,
            "client": f"{client.address}:{client.port}",
            "pids": pids,
            "command": command,
            "ms": (now_s - self.config["origin_s"]) * 1000,
        }
        reply({"seen": {"passed": [past]}})


def reply(message: object) -> None:
    """One line to the parent."""
    data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def serve() -> None:
    """Look in turn and on request, until the parent closes the pipe; never more than a part of one core."""
    buffer = bytearray()
    watcher: Watcher | None = None
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    rest_s = INTERVAL_S
    while True:
        asked = []
        if selector.select(rest_s if watcher else None):
            data = os.read(0, 1 << 16)
            if not data:
                return
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            asked = [json.loads(line) for line in lines]
        if watcher is None and asked:
            watcher = Watcher(asked[0]["config"])
        if watcher is None:
            continue
        begun_s = time.monotonic()
        watcher.look(last=any(question["do"] == "finish" for question in asked))
        for question in asked:
            reply({"id": question["id"]})
        took_s = time.monotonic() - begun_s
        rest_s = min(max(INTERVAL_S, took_s * (1 / MOST_OF_A_CORE - 1)), LONGEST_REST_S)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve()
