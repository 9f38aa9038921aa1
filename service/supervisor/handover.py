"""What a process is handed when it is spawned: a sign of its gateway's life, its keys, and a port that no other user has."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import msgspec

from service.keys import Link
from service.notify import untold
from service.parent import KEYS_PIPE, PARENT_PIPE, RESERVED
from service.processes import Listen, Process


class Handed(msgspec.Struct, frozen=True):
    """An environment, and descriptors that stay open in the process."""

    environ: Mapping[str, str]
    descriptors: tuple[int, ...] = ()


Hand = Callable[[Process], AbstractContextManager[Handed]]


class Handover:
    """Hands each process what it needs, as often as it is spawned, and holds its port from the first time on."""

    def __init__(self, links: Mapping[str, Link], environ: Mapping[str, str]) -> None:
        self._links = links
        self._environ = untold(environ)
        self._ports: dict[str, socket.socket] = {}
        self._life, self._held = os.pipe()

    @contextmanager
    def hand(self, process: Process) -> Iterator[Handed]:
        """What to spawn `process` with; it is open for as long as that takes."""
        reserved = {RESERVED: "1"} if self._reserve(process) else {}
        keys = _pipe_with(msgspec.json.encode(self._links[process.name]))
        named = {PARENT_PIPE: str(self._life), KEYS_PIPE: str(keys)}
        try:
            yield Handed({**self._environ, **named, **reserved}, (self._life, keys))
        finally:
            os.close(keys)

    def is_vacant(self, process: Process) -> bool:
        """Whether `process` could listen: what an earlier gateway started may still be ending."""
        listen = process.listen(self._environ)
        if self._reserve(process):
            return not listen.is_taken()
        with socket.socket(listen.family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((listen.host, listen.port))
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Let go of everything; what still lives is told to end by it."""
        os.close(self._life)
        os.close(self._held)
        for port in self._ports.values():
            port.close()

    def _reserve(self, process: Process) -> bool:
        """Hold the port; where somebody else has it, the process will say so, and the next attempt asks again."""
        if process.name not in self._ports:
            try:
                self._ports[process.name] = reserve(process.listen(self._environ))
            except OSError:
                return False
        return True


def reserve(listen: Listen) -> socket.socket:
    """Bind the address and never listen: whoever connects is refused, and nobody but this user can bind it, too.

    Raises OSError. There is no SO_REUSEADDR, with which another user could bind an address that nobody listens on.
    """
    held = socket.socket(listen.family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((listen.host, listen.port))
    except OSError:
        held.close()
        raise
    return held


def _pipe_with(content: bytes) -> int:
    """The end to read from of a pipe that holds `content`, which is short, and nothing after it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(content)
    return reading
