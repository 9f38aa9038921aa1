"""What systemd is told of the gateway (sd_notify(3)): that it serves, that it lives, that it ends.

It lives as long as whatever it waits for comes by: that is waited for before each sign of life, and the service manager
replaces what has given none for too long.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from service.timers import Timer

_SOCKET: Final = "NOTIFY_SOCKET"
_WITHIN: Final = "WATCHDOG_USEC"
_PID: Final = "WATCHDOG_PID"
SIGNS: Final = 4
"""How many signs of life fit into the time after which the service manager gives up."""
Alive = Callable[[], Awaitable[None]]


async def _at_once() -> None:
    """Alive as long as the event loop runs."""


class ServiceManager:
    """Whoever has started this process, if that wants to be told. Without one nothing is done.

    `alive` returns when the process lives; while it does not, there is no sign of life.
    """

    def __init__(self, environ: Mapping[str, str], alive: Alive = _at_once) -> None:
        name = environ.get(_SOCKET, "")
        # A name that begins with "@" is one of Linux's abstract ones.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._alive = alive
        within, pid = environ.get(_WITHIN, ""), environ.get(_PID, str(os.getpid()))
        watched = within.isascii() and within.isdecimal() and pid == str(os.getpid())
        every_s = int(within) / 1e6 / SIGNS if watched else 0
        self._timer = Timer("watchdog", every_s, self._feed) if every_s > 0 else None

    def serving(self) -> None:
        """The port is open; from now on there are signs of life. Needs a running loop."""
        self._tell("READY=1")
        if self._timer is not None:
            self._timer.start()

    async def ending(self) -> None:
        """No more is begun."""
        self._tell("STOPPING=1")
        if self._timer is not None:
            await self._timer.stop()

    async def _feed(self) -> None:
        await self._alive()
        self._tell("WATCHDOG=1", within_s=0)

    def _tell(self, what: str, within_s: float = 1) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                # A queue of a few messages may be full; a sign of life comes again, the others do not.
                told.settimeout(within_s)
                told.sendto(what.encode(), self._address)
        except OSError as failed:
            logging.getLogger("sonia.notify").warning("%s was not told: %s", what, failed)


NOBODY: Final = ServiceManager({})
"""Of a process that no service manager has started."""


def untold(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for children: they are not whom the service manager has started."""
    return {key: value for key, value in environ.items() if key not in (_SOCKET, _WITHIN, _PID)}
