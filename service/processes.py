"""The processes of SONIA in one table, which everything reads that asks which processes there are.

A further process is its package and its row. What a row names is imported when the process is run, so that no
command imports a server that it does not start.
"""

import errno
import graphlib
import importlib
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, cast

import msgspec

from service.errors import StartRefused

if TYPE_CHECKING:
    from service.settings import TurnSettings


class Listen(msgspec.Struct, frozen=True):
    """Where one process listens; `in_place_of` is what it was told where this machine has no such address."""

    host: str
    port: int
    in_place_of: str = ""

    @property
    def family(self) -> socket.AddressFamily:
        """Of which kind the address is."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def reached_at(self) -> str:
        """The address by which this machine reaches it."""
        return REACHED_AT.get(self.host, self.host)

    def is_taken(self) -> bool:
        """Whether somebody listens there now."""
        with socket.socket(self.family, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            found = probe.connect_ex((self.reached_at, self.port))
        return found != errno.ECONNREFUSED


def _is_here(host: str) -> bool:
    """Whether this machine has an address. What else is wrong with it is said when it is taken."""
    try:
        with socket.socket(Listen(host, 0).family, socket.SOCK_STREAM) as tried:
            tried.bind((host, 0))
    except (socket.gaierror, UnicodeError):
        return False
    except OSError as error:
        return error.errno not in _NOT_HERE
    return True


def _a_second(_: "TurnSettings") -> float:
    return 1.0


class Process(msgspec.Struct, frozen=True):
    """One row: a process by its name, its nominal port and the function that serves it, `module:function`.

    `depends_on` names the processes that are started, and waited for, before it. `probe_within_s` is how many seconds
    the gateway waits for the answer to a probe: a probe costs a process nothing, so it is given no more time than
    the most impatient caller has.
    """

    name: str
    port: int
    entry: str
    depends_on: tuple[str, ...] = ()
    probe_within_s: Callable[["TurnSettings"], float] = _a_second

    def load(self) -> Callable[..., None]:
        """Import and return what `entry` names."""
        module, _, function = self.entry.partition(":")
        return cast("Callable[..., None]", getattr(importlib.import_module(module), function))

    def listen(self, environ: Mapping[str, str] = os.environ) -> Listen:
        """Return where it listens: SONIA_<NAME>_HOST and _PORT, or loopback and its nominal port.

        Loopback, too, where this machine has no such address. Raises StartRefused for a port that is not one.
        """
        name = self.name.upper()
        text = environ.get(f"SONIA_{name}_PORT", str(self.port))
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
            raise StartRefused(
                f"SONIA_{name}_PORT is not a port: {text!r}", "set it to a number from 1 to 65535"
            )
        told = environ.get(f"SONIA_{name}_HOST", UNLESS_TOLD)
        if told == UNLESS_TOLD or _is_here(told):
            return Listen(told, int(text))
        return Listen(UNLESS_TOLD, int(text), in_place_of=told)

    def url(self, environ: Mapping[str, str] = os.environ) -> str:
        """Return where the gateway reaches it: SONIA_<NAME>_URL, or where it would listen; no trailing slash.

        Raises StartRefused for a port that is not one.
        """
        default = self.own_url(environ)
        return environ.get(f"SONIA_{self.name.upper()}_URL", default).rstrip("/")

    def own_url(self, environ: Mapping[str, str] = os.environ) -> str:
        """Return where it listens itself, whatever lies before it for others. Raises StartRefused as `listen`."""
        listen = self.listen(environ)
        host = listen.reached_at
        return f"http://{f'[{host}]' if ':' in host else host}:{listen.port}"


REACHED_AT: Final = {"": "127.0.0.1", "0": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - see below
"""Addresses that mean all of them, which are ones to listen on only, and where what listens there is reached."""

UNLESS_TOLD: Final = "127.0.0.1"
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL})

# In front of all others: it takes the state directory as it is and checks it itself.
GATEWAY: Final = Process("gateway", 7000, "service.gateway.server:run_gateway")
# These are served once the checks that they share have passed: service.internal.start.
BEHIND: Final = (
    Process(
        "memory",
        7020,
        "service.memory.process:run",
        probe_within_s=lambda turn: turn.memory_timeout_s,
    ),
    Process(
        "model",
        7010,
        "service.model.process:run",
        probe_within_s=lambda turn: min(turn.model_timeout_s, 1.0),
    ),
    Process("tools", 7040, "service.tools.process:run"),
)
PROCESSES: Final = {each.name: each for each in (GATEWAY, *BEHIND)}


def start_order(processes: Iterable[Process]) -> tuple[str, ...]:
    """The names of `processes`, each after those of them that it depends on. Raises CycleError where that cannot be."""
    by_name = {each.name: each for each in processes}
    before = {name: by_name.keys() & each.depends_on for name, each in by_name.items()}
    return tuple(graphlib.TopologicalSorter(before).static_order())
