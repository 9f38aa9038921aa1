"""How many requests of one observer are served at once: whoever may only look keeps nobody waiting who may do more.

Requests share one event loop, and a hundred pages at once would keep it from hearing in time that another process answers.
"""

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from service.auth.credentials import Actor
from service.auth.roles import Role

AT_ONCE: Final = 16


class Crowds:
    """The observers that are being served. What is more than AT_ONCE of one of them waits for its own."""

    def __init__(self) -> None:
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def room(self, caller: object) -> asyncio.Semaphore | None:
        """What a request of `caller` is served within; None for whoever is no observer, and does not wait."""
        if not isinstance(caller, Actor) or caller.role != Role.OBSERVER:
            return None
        room = self._rooms.get(caller.id)
        if room is None:
            room = self._rooms[caller.id] = asyncio.Semaphore(AT_ONCE)
        return room
