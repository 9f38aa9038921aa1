"""Who gives way when there are too many connections: whoever holds most of them, with the one that was silent longest.

So callers that nobody knows, however many, cannot take the descriptors that somebody needs who authenticates, and no
known caller can take those of another.
"""

import resource
from typing import Final, Protocol

STRANGERS: Final = ""
"""Holds all connections on which nobody has authenticated yet."""

_MOST: Final = 4096


def open_more_files() -> None:
    """Let this process open as many files as full room for callers takes, or as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST if hard == resource.RLIM_INFINITY else min(2 * _MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room_for_callers() -> int:
    """How many connections callers may hold together: half of what this process may open, the rest is its own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(8, min(_MOST, soft // 2))


class Connection(Protocol):
    """What may be asked to give way."""

    def give_way(self) -> None:
        """End the connection at once."""


class _Held:
    """The connections of one caller, the one that was silent longest first."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.silent: dict[Connection, None] = {}
        self.served: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self.silent) + len(self.served)


class Connections:
    """All open connections by whom they serve, at most `room` of them."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._by_owner: dict[str, _Held] = {}
        self._held: dict[Connection, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def join(self, connection: Connection) -> None:
        """Take a new connection in; another one, or this one, gives way when there is no room."""
        self._move(connection, STRANGERS).silent[connection] = None
        if len(self._held) > self._room:
            self._make_room(connection)

    def serve(self, connection: Connection, owner: str | None = None) -> None:
        """Note that a request is being answered on `connection`; from now on it is `owner`'s, if one is given."""
        if held := self._held.get(connection):
            if owner is not None and owner != held.owner:
                held = self._move(connection, owner)
            held.silent.pop(connection, None)
            held.served[connection] = None

    def rest(self, connection: Connection, owner: str | None = None) -> None:
        """Note that nothing is asked on `connection` at present; from now on it is `owner`'s, if one is given."""
        if held := self._held.get(connection):
            if owner is not None and owner != held.owner:
                held = self._move(connection, owner)
            held.served.pop(connection, None)
            held.silent[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        held = self._held.pop(connection, None)
        if held is None:
            return
        held.silent.pop(connection, None)
        held.served.pop(connection, None)
        if not held:
            del self._by_owner[held.owner]

    def _move(self, connection: Connection, owner: str) -> _Held:
        """Give `connection` to `owner`, who has to say whether it is silent."""
        self.leave(connection)
        if owner not in self._by_owner:
            self._by_owner[owner] = _Held(owner)
        self._held[connection] = held = self._by_owner[owner]
        return held

    def _make_room(self, newcomer: Connection) -> None:
        """Whoever holds most loses one: of those that are silent, or, where it fills half of the room, of any."""
        most = max(self._by_owner.values(), key=len)
        if most.silent:
            victim = next(iter(most.silent))
        elif len(most) * 2 > self._room:
            victim = next(iter(most.served))
        else:
            victim = newcomer
        self.leave(victim)
        victim.give_way()
