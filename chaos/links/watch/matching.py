"""Sets connections to a server off against the clients that its proxy has accepted."""

from collections import deque
from typing import NamedTuple

from chaos.links.watch.table import Client, Look

WINDOW_S = 1.0
SETTLE_S = 1.0
FORGET_S = 5.0
FORGET_TURNS = 3
LATER_END_S = 0.5


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


class Matching:
    """Sets connections off against accepted clients. Pure: times and owners are passed in.

    Times are seconds on one clock and never go back.
    """

    def __init__(self) -> None:
        self._accepted: dict[int, deque[tuple[float, str]]] = {}
        self._known: dict[Client, Known] = {}
        self._open: dict[Client, tuple[float, float]] = {}
        self._looked_s = 0.0
        self._turn = 0

    def accepted(self, port: int, client: str, now_s: float) -> None:
        """Toxiproxy accepted a client, whose server has this port."""
        self._accepted.setdefault(port, deque()).append((now_s, client))

    def not_dialled(self, port: int, client: str) -> None:
        """It could not reach the server for this client; where that was set off already, another one stands in."""
        times = self._accepted.get(port)
        if times:
            of_it = [index for index, (_, name) in enumerate(times) if name == client]
            del times[of_it[-1] if of_it else -1]

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
            while times and times[0][0] < oldest_s - WINDOW_S - SETTLE_S:
                times.popleft()
        return past

    def _take(self, port: int, since_s: float, seen_s: float) -> bool:
        times = self._accepted.get(port, deque())
        for index, (accepted_s, _) in enumerate(times):
            if since_s - WINDOW_S <= accepted_s <= seen_s:
                del times[index]
                return True
        return False
