"""The watching process: who connects to a link's proxy, and who goes past it.

Started by `chaos.links.connections` with nothing but the standard library. Every few milliseconds it looks at
the kernel's table of TCP connections and then at what Toxiproxy has logged, in this order: Toxiproxy logs
a client before it dials the server, so whatever it dialled in a look is already in the log that is read
after it.

Going past is told in two ways. A connection that is open is attributed by its socket: it is Toxiproxy's, or
it belongs to another process of the stack. One that has closed has no owner any more, but stays visible in
TIME_WAIT for a minute; every such connection needs a client of its own that Toxiproxy accepted at most
`WINDOW_S` before the look that did not show it yet. Where there are more connections than clients, the rest
went past. Accepted clients without a connection (refused, reset) expire, so they cannot lend themselves to
a by-pass later.

What this cannot see: the kernel gives a client's port away again a second after it was closed, so among
many hundreds of short connections per second, on a machine too busy to look every second, some are
taken for one, and as many short by-passes hide behind the clients that are left over. It errs on this side
only: traffic through the proxy never raises an alarm.

Input: one JSON object to begin with (see `Config`), then one per `Question`, each answered with `{"id": n, "seen": …}`
after a look. Output without an id is news: `accepted` is a list of [link, client, after ms, ms], between which it was
logged; `passed` one of {port, client, pids, command, ms}.
"""

import contextlib
import json
import os
import selectors
import time
from typing import TypedDict

from chaos.links.watch.flows import Follower, Told
from chaos.links.watch.matching import Matching
from chaos.links.watch.table import Client, connections_in, read_pieces
from chaos.marks import SESSION, all_pids, carries, read, stat_of

INTERVAL_S = 0.04
MOST_OF_A_CORE = 0.1
LONGEST_REST_S = 0.5
MOST_REPORTS_PER_PORT = 100
MOST_SEARCHED = 100_000


class Config(TypedDict):
    """What to watch.

    `marker` is in the environment of every process of the stack. One that has taken it off is told by its line: sooner or later
    the process `adopter` stands in it, and right below that somebody who has not `guard` in his environment, which all have that it starts.
    `links` maps a link to the port of its server, `listens` to that of its proxy; `ports` are those servers' ports where
    going past the proxy matters; `past` are source addresses of the harness itself, which may.
    """

    origin_s: float
    log: str
    proxy_pid: int
    marker: str
    adopter: int
    guard: str
    links: dict[str, int]
    listens: dict[str, int]
    ports: list[int]
    past: list[str]


class Question(TypedDict, total=False):
    """What to do besides looking: `sync` nothing, `finish` settle all, `follow` a `link`, tell the `flows` of it.

    A link is followed under a `key`, until its flows were asked for and that is `over`.
    """

    id: int
    do: str
    config: Config
    key: str
    link: str
    over: bool


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
            line.append(int(stat_of(line[-1])[1]))
    return line


class Watcher:
    """Looks, attributes, settles, reports."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.matching = Matching()
        self.log = Log(config["log"])
        self.ports = frozenset(config["ports"])
        self.first = True
        self.searched: set[int] = set()
        self.reported: dict[int, int] = {}
        self.follower = Follower(config["origin_s"], config["listens"])
        self.logged_s = time.monotonic()

    def look(self, *, last: bool = False) -> None:
        """One look at everything."""
        self.follower.look()
        pieces = read_pieces()
        # Toxiproxy's log right after the kernel's table: what was dialled in one was accepted in the other.
        after_s, self.logged_s = self.logged_s, time.monotonic()
        accepted = self.log.news()
        now_s = time.monotonic()
        looks = connections_in(pieces, self.ports)
        self._count(accepted, after_s, now_s)
        past = self.config["past"]
        others = {client: seen for client, seen in looks.items() if client.address not in past}
        self.matching.look(others, now_s, first=self.first)
        self._attribute(now_s)
        if self.first:
            self.matching.forgive()
            self.first = False
        for client in self.matching.settle(now_s, all_of_them=last):
            self._report(client, [], now_s)

    def answer(self, question: Question) -> list[Told] | None:
        """What a question is answered with, right after a look."""
        if question["do"] == "follow":
            self.follower.follow(question["key"], question["link"])
        if question["do"] == "flows":
            return self.follower.flows(question["key"], over=question["over"])
        return None

    def _ms(self, at_s: float) -> float:
        return (at_s - self.config["origin_s"]) * 1000

    def _count(self, accepted: list[tuple[str, str, bool]], after_s: float, now_s: float) -> None:
        news = []
        for link, client, was_accepted in accepted:
            port = self.config["links"].get(link)
            if port is None:
                continue
            if was_accepted:
                self.matching.accepted(port, client, now_s)
                news.append([link, client, self._ms(after_s), self._ms(now_s)])
            else:
                self.matching.not_dialled(port, client)
        if news:
            reply({"seen": {"accepted": news}})

    def _attribute(self, now_s: float) -> None:
        unowned = {client: inode for client, inode in self.matching.unowned().items() if inode}
        if not unowned:
            return
        proxied = sockets_of(self.config["proxy_pid"])
        for client, inode in unowned.items():
            if inode in proxied:
                self.matching.is_proxied(client)
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
        for pid in all_pids():
            for inode in sockets_of(pid) & left.keys():
                client = left.pop(inode)
                self.matching.is_other(client)
                line = parents_of(pid)
                if any(carries(one, marker) for one in line) or self._is_adopted(line):
                    self._report(client, line, now_s)
            if not left:
                return

    def _is_adopted(self, line: list[int]) -> bool:
        """Whether a process has come of something that lost its parent, or never had the mark that it was started with."""
        adopter = self.config["adopter"]
        if adopter not in line[1:]:
            return False
        below = line[line.index(adopter) - 1]
        try:
            is_apart = stat_of(below)[SESSION] != stat_of(adopter)[SESSION]
        except OSError:
            return False
        return is_apart and not carries(below, self.config["guard"].encode())

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
            "ms": self._ms(now_s),
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
        asked: list[Question] = []
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
            reply({"id": question["id"], "seen": watcher.answer(question)})
        took_s = time.monotonic() - begun_s
        rest_s = min(max(INTERVAL_S, took_s * (1 / MOST_OF_A_CORE - 1)), LONGEST_REST_S)


def main() -> None:
    """Serve, quietly when the parent goes."""
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve()
