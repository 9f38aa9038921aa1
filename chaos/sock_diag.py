"""Asks the kernel for TCP sockets by sock_diag(7): it looks only where sockets of the wanted states can be.

Reading /proc/net/tcp walks the table of all connections, whose size is the machine's memory's, to its end.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

FAMILY: Final = 4
"""`NETLINK_SOCK_DIAG`."""
MESSAGE_BYTES: Final = 72
"""Of `struct inet_diag_msg`, with which each socket's message begins."""
READ_BYTES: Final = 1 << 18

_SOCK_DIAG_BY_FAMILY: Final = 20
_DONE: Final = 3
_ERROR: Final = 2
_REQUEST_DUMP: Final = 0x301
_ANSWER_WITHIN_S: Final = 1.0
_HEADER: Final = struct.Struct("=IHHII")
_ASKED: Final = struct.Struct("=BBBBI48x")


def open_socket() -> socket.socket:
    """To ask by. OSError where the kernel does not tell (an old one, or a sandbox)."""
    asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, FAMILY)
    asking.settimeout(_ANSWER_WITHIN_S)
    return asking


def sockets(
    asking: socket.socket, family: int, states: int, *, extensions: int = 0
) -> Iterator[bytes]:
    """A message about each socket of a family (AF_INET, AF_INET6) in `states`, a bit for each. OSError for an error."""
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, extensions, 0, states)
    length = _HEADER.size + len(asked)
    asking.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + asked)
    while True:
        for message in messages_in(asking.recv(READ_BYTES)):
            if message is None:
                return
            yield message


def messages_in(data: bytes) -> Iterator[bytes | None]:
    """The messages about sockets in what the kernel said; None for the end of an answer. OSError for an error."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        message = data[offset + _HEADER.size : offset + length]
        offset += max(_HEADER.size, (length + 3) & ~3)
        if kind == _ERROR:
            raise OSError("the kernel does not tell of connections")
        if kind == _DONE:
            yield None
        elif kind == _SOCK_DIAG_BY_FAMILY and len(message) >= MESSAGE_BYTES:
            yield message
