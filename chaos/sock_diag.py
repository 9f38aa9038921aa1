"""Asks the kernel for TCP sockets by sock_diag(7): it looks only where sockets of the wanted states can be.

Reading /proc/net/tcp walks the table of all connections, whose size is the machine's memory's, to its end.
"""

import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

FAMILY: Final = 4
"""`NETLINK_SOCK_DIAG`."""
READ_BYTES: Final = 1 << 18

_SOCK_DIAG_BY_FAMILY: Final = 20
_DONE: Final = 3
_ERROR: Final = 2
_REQUEST_DUMP: Final = 0x301
_ANSWER_WITHIN_S: Final = 1.0
_HEADER: Final = struct.Struct("=IHHII")
_ASKED: Final = struct.Struct("=BBBBI48x")
# `struct inet_diag_msg`: family, state, both ports and addresses, cookie, inode.
_TOLD: Final = struct.Struct("=BB2xHH16s16s4x8s16xI")
_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}
_SIZES: Final[Mapping[int, int]] = {family: size for size, family in _FAMILIES.items()}


class Told(NamedTuple):
    """What the kernel says of one socket; no other ever has its `cookie`. Addresses are packed, see `address_of`."""

    family: int
    state: int
    local_port: int
    remote_port: int
    local: bytes
    remote: bytes
    cookie: bytes
    inode: int
    attributes: bytes


def open_socket() -> socket.socket:
    """To ask by. OSError where the kernel does not tell (an old one, or a sandbox)."""
    asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, FAMILY)
    asking.settimeout(_ANSWER_WITHIN_S)
    return asking


def sockets(
    asking: socket.socket, family: int, states: int, *, extensions: int = 0
) -> Iterator[Told]:
    """What there is to say of each socket of a family (AF_INET, AF_INET6) in `states`, a bit for each. OSError for an error."""
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, extensions, 0, states)
    length = _HEADER.size + len(asked)
    asking.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + asked)
    while True:
        for told in told_in(asking.recv(READ_BYTES)):
            if told is None:
                return
            yield told


def told_in(data: bytes) -> Iterator[Told | None]:
    """What the kernel's messages say of sockets; None for the end of an answer. OSError for an error."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        message = data[offset + _HEADER.size : offset + length]
        offset += max(_HEADER.size, (length + 3) & ~3)
        if kind == _ERROR:
            raise OSError("the kernel does not tell of connections")
        if kind == _DONE:
            yield None
        elif kind == _SOCK_DIAG_BY_FAMILY and len(message) >= _TOLD.size:
            yield _told(message)


def _told(message: bytes) -> Told:
    family, state, local_port, remote_port, *rest = _TOLD.unpack_from(message)
    local, remote, cookie, inode = rest
    ports = socket.ntohs(local_port), socket.ntohs(remote_port)
    return Told(family, state, *ports, local, remote, cookie, inode, message[_TOLD.size :])


def address_of(family: int, packed: bytes) -> str:
    """An address that was told, in its usual form."""
    return socket.inet_ntop(family, packed[: _SIZES[family]])


def decode_address(text: str) -> str:
    """An address as /proc/net/tcp and tcp6 print it (32-bit words in host order) in its usual form."""
    address = b"".join(
        int(text[index : index + 8], 16).to_bytes(4, sys.byteorder)
        for index in range(0, len(text), 8)
    )
    return socket.inet_ntop(_FAMILIES[len(address)], address)
