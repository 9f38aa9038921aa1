"""Who gives way when there are too many connections: whoever holds most of them, with the one that was silent longest.

So callers that nobody knows, however many, cannot take the descriptors that somebody needs who authenticates, and no
known caller can take those of another.
"""

import resource
from typing import Final, Protocol

STRANGERS: Final = ""
"""Holds all connections on which nobody has authenticated yet."""

_MOST: Final = 4096


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

    def __init__(self) -> None:
        self.silent: dict[Connection, None] = {}
        self.served: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self.silent) + len(self.served)


class Connections:
    """All open connections by whom they serve, at most `room` of them."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held: dict[str, _Held] = {}
        self._owners: dict[Connection, str] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def join(self, connection: Connection) -> None:
        """Take a new connection in; another one, or this one, gives way when there is no room."""
        self._put(connection, STRANGERS, served=False)
        if len(self._owners) > self._room:
            self._make_room(connection)

    def serve(self, connection: Connection) -> None:
        """Note that a request is being answered on `connection`."""
        if connection in self._owners:
            self._put(connection, self._owners[connection], served=True)

    def rest(self, connection: Connection, owner: str | None = None) -> None:
        """Note that nothing is asked on `connection` at present; from now on it is `owner`'s, if one is given."""
        if connection in self._owners:
            self._put(connection, owner or self._owners[connection], served=False)

    def own(self, connection: Connection, owner: str) -> None:
        """Note who is served on `connection`, for as long as it stays open."""
        if connection in self._owners:
            self._put(connection, owner, served=True)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        owner = self._owners.pop(connection, None)
        if owner is None:
            return
        held = self._held[owner]
        held.silent.pop(connection, None)
        held.served.pop(connection, None)
        if not held:
            del self._held[owner]

    def _put(self, connection: Connection, owner: str, *, served: bool) -> None:
        self.leave(connection)
        held = self._held.setdefault(owner, _Held())
        (held.served if served else held.silent)[connection] = None
        self._owners[connection] = owner

    def _make_room(self, newcomer: Connection) -> None:
        """Whoever holds most loses one: of those that are silent, or, where it fills half of the room, of any."""
        most = max(self._held.values(), key=len)
        if most.silent:
            victim = next(iter(most.silent))
        elif len(most) * 2 > self._room:
            victim = next(iter(most.served))
        else:
            victim = newcomer
        self.leave(victim)
        victim.give_way()
