"""The probing process: measures links and direct paths where nothing else runs.

Started by `chaos.links.probe.prober` as a plain file, with nothing but the standard library, so that it is
up in some milliseconds and shares neither interpreter nor event loop with the engine: a loop that was
busy with JSON has measured 63 ms without any fault.

It reads one JSON object per line from its standard input and writes one per line to its output:

    {"id": 1, "do": "shoot", "shots": [SHOT, ...]}      → {"id": 1, "seen": [...]} when all have ended
    {"id": 2, "do": "hold", "key": "k", "addresses": {"link": [HOST, PORT], "direct": [...]}}
    {"id": 3, "do": "look", "key": "k"}                 which of the held connections are open
    {"id": 4, "do": "spend", "key": "k", "shots": [SHOT, ...]}  what becomes of them now

A SHOT has `path`, `address`, `delay_ms` (when to start), `request` (base64, may be empty), `protocol`, `ends` (base64),
`head`, `until_close` and `give_up_ms`. What is seen are the columns of `link_probes`: times in milliseconds
from the start of the probe, `probed_ms` from the run's origin. `closed_after_ms` is when the other side
ended the connection, or, where `failure` is `timeout`, when the probe gave up.
"""

import base64
import errno
import json
import os
import selectors
import socket
import sys
import time
from typing import TypedDict

SOURCE = "127.0.0.2"
READ_BYTES = 65_536
BEGIN_BYTES = 60
HTTP_1 = b"HTTP/1."
SWITCHING = 101
HANDSHAKE = b"\x16\x03"
SERVER_HELLO = 2

FAILURES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
}


class ShotSpec(TypedDict):
    """One probe as it is asked for."""

    path: str
    address: tuple[str, int]
    delay_ms: float
    request: str
    protocol: str
    ends: str
    head: bool
    until_close: bool
    give_up_ms: float


class Command(TypedDict, total=False):
    """One line of input."""

    id: int
    do: str
    key: str
    shots: list[ShotSpec]
    addresses: dict[str, tuple[str, int]]


Seen = dict[str, str | float | int | None]


class AnswerEnd:
    """Finds where an HTTP/1.1 answer ends: by length, by chunks or by the close (RFC 9112, section 6).

    What is no HTTP is a ValueError. One that switches protocols ends with its head.
    """

    def __init__(self, head: bool) -> None:
        self.complete = False
        self._no_body = head
        self._buffer = b""
        self._left = 0
        self._read = self._read_head

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        while self._buffer and not self.complete and self._read():
            pass

    def feed_close(self) -> None:
        """The connection has ended: the answer is complete if it is one that ends so."""
        if self._read == self._read_to_close:
            self.complete = True

    def _read_head(self) -> bool:
        if not self._buffer.startswith(HTTP_1[: len(self._buffer)]):
            raise ValueError
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        self._buffer = rest
        status = int(head.split(None, 2)[1].ljust(3, b"?"))
        if status == SWITCHING:
            self.complete = True
        if 100 <= status < 200:
            return True
        fields = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        self._frame(status, fields)
        return True

    def _frame(self, status: int, fields: dict[bytes, bytes]) -> None:
        if self._no_body or status in (204, 304):
            self.complete = True
        elif fields.get(b"transfer-encoding", b"").endswith(b"chunked"):
            self._read = self._read_chunk_size
        elif b"content-length" in fields:
            self._left = int(fields[b"content-length"])
            self._read = self._read_length
            self.complete = self._left == 0
        else:
            self._read = self._read_to_close

    def _read_length(self) -> bool:
        self._left -= len(self._buffer)
        self._buffer = b""
        self.complete = self._left <= 0
        return False

    def _read_to_close(self) -> bool:
        self._buffer = b""
        return False

    def _read_chunk_size(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        size = int(line.partition(b";")[0] or b"0", 16)
        self._left = size + 2
        self._read = self._read_chunk if size else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        taken = min(self._left, len(self._buffer))
        self._buffer = self._buffer[taken:]
        self._left -= taken
        if self._left == 0:
            self._read = self._read_chunk_size
        return self._left == 0

    def _read_trailer(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        self._buffer = rest if found else self._buffer
        self.complete = bool(found) and not line
        return bool(found)


class HelloEnd:
    """Finds the end of a server's hello: the first record of a handshake (RFC 8446, sections 4 and 5.1). Else a ValueError."""

    def __init__(self) -> None:
        self.complete = False
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        if not self._buffer.startswith(HANDSHAKE[: len(self._buffer)]):
            raise ValueError
        if len(self._buffer) > 5:
            if self._buffer[5] != SERVER_HELLO:
                raise ValueError
            self.complete = len(self._buffer) >= 5 + int.from_bytes(self._buffer[3:5], "big")

    def feed_close(self) -> None:
        """The connection has ended."""


class BytesEnd:
    """Finds the end of an answer that ends in known bytes."""

    def __init__(self, ends: bytes) -> None:
        self.complete = False
        self._ends = ends
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer = (self._buffer + data)[-len(self._ends) :]
        self.complete = self._buffer == self._ends

    def feed_close(self) -> None:
        """The connection has ended."""


def end_of(spec: ShotSpec) -> AnswerEnd | HelloEnd | BytesEnd:
    """What finds the end of an answer in the protocol that a probe speaks."""
    if spec["protocol"] == "tls":
        return HelloEnd()
    if spec["protocol"] == "tcp":
        return BytesEnd(base64.b64decode(spec["ends"]))
    return AnswerEnd(spec["head"])


class Shot:
    """One probe on one connection, from its start to what ended it."""

    def __init__(self, spec: ShotSpec, now_s: float, sock: socket.socket | None = None) -> None:
        self.path = spec["path"]
        self.address = (spec["address"][0], spec["address"][1])
        self.starts_s = now_s + spec["delay_ms"] / 1000
        self.give_up_s = self.starts_s + spec["give_up_ms"] / 1000
        self.established = sock is not None
        self.sock = sock
        self.ended = False
        self._request = base64.b64decode(spec["request"])
        self._asks = bool(self._request)
        self._until_close = spec["until_close"]
        self._protocol = spec["protocol"]
        self._end = end_of(spec)
        self._begin = b""
        self._connected_s: float | None = None
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._closed_s: float | None = None
        self._received = 0
        self._failure: str | None = None

    def start(self, now_s: float) -> None:
        """Begin to connect, or go on with the connection that was held."""
        self.starts_s = now_s
        if self.sock is not None:
            self._connected_s = now_s
            return
        self.sock = new_socket()
        code = self.sock.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            self._fail(code, time.monotonic())

    def wants(self) -> int:
        """What to wait for: to connect or send, or to read."""
        writing = self._connected_s is None or self._request
        return selectors.EVENT_WRITE if writing else selectors.EVENT_READ

    def advance(self) -> None:
        """Do what the socket is ready for."""
        assert self.sock is not None
        now_s = time.monotonic()
        if self._connected_s is None and not self._connect(self.sock, now_s):
            return
        try:
            if self._request:
                self._request = self._request[self.sock.send(self._request) :]
            else:
                self._receive(self.sock.recv(READ_BYTES), now_s)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(error.errno or 0, now_s)

    def _connect(self, sock: socket.socket, now_s: float) -> bool:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(code, now_s)
            return False
        self._connected_s = now_s
        if not self._asks:
            self._finish(None)
        return self._asks

    def _receive(self, data: bytes, now_s: float) -> None:
        if not data:
            self._closed_s = now_s
            self._end.feed_close()
            self._finish(None if self._end.complete else "eof")
            return
        self._first_s = self._first_s or now_s
        self._last_s = now_s
        self._received += len(data)
        self._begin = (self._begin + data)[:BEGIN_BYTES]
        try:
            self._end.feed(data)
        except ValueError:
            self._finish("not TLS" if self._protocol == "tls" else "not HTTP")
            return
        if self._end.complete and not self._until_close:
            self._finish(None)

    def give_up(self, now_s: float) -> None:
        """Time is up. A held connection from which nothing was asked was expected to stay open."""
        if self.established and not self._asks and self.path == "direct":
            self._finish(None)
            return
        self._closed_s = now_s
        self._finish("timeout")

    def _fail(self, code: int, now_s: float) -> None:
        self._closed_s = now_s if self._connected_s is not None else None
        self._finish(FAILURES.get(code) or errno.errorcode.get(code, "failed").lower())

    def _finish(self, failure: str | None) -> None:
        self._failure = failure
        self.ended = True
        if self.sock is not None:
            self.sock.close()

    def seen(self, origin_s: float) -> Seen:
        """The columns of `link_probes` that this process knows."""
        return {
            "path": self.path,
            "connection": "established" if self.established else "new",
            "probed_ms": (self.starts_s - origin_s) * 1000,
            "connected_after_ms": self._after_ms(self._connected_s),
            "first_byte_after_ms": self._after_ms(self._first_s),
            "last_byte_after_ms": self._after_ms(self._last_s),
            "closed_after_ms": self._after_ms(self._closed_s),
            "received_bytes": self._received,
            "failure": self._failure,
            "protocol": self._protocol,
            "answer": as_text(self._begin) if self._begin else None,
        }

    def _after_ms(self, at_s: float | None) -> float | None:
        return None if at_s is None else (at_s - self.starts_s) * 1000


class Job:
    """Shots that are answered together."""

    def __init__(self, number: int, shots: list[Shot]) -> None:
        self.number = number
        self.shots = shots


class Worker:
    """One loop over all sockets and the two pipes to the parent."""

    def __init__(self, origin_s: float) -> None:
        self.origin_s = origin_s
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ, None)
        self.jobs: list[Job] = []
        self.held: dict[str, dict[str, socket.socket | None]] = {}
        self.buffer = b""

    def run(self) -> None:
        """Serve until the parent closes the pipe."""
        os.set_blocking(0, False)
        open_ = True
        while open_:
            for key, _ in self.selector.select(self._wait_s()):
                if key.data is None:
                    open_ = self._read_commands()
                else:
                    self._advance(key.data)
            self._keep_time()
            self._answer_finished()

    def _wait_s(self) -> float | None:
        now_s = time.monotonic()
        due = [
            (shot.starts_s if shot.sock is None else shot.give_up_s) - now_s
            for job in self.jobs
            for shot in job.shots
            if not shot.ended
        ]
        return max(0.0, min(due)) if due else None

    def _keep_time(self) -> None:
        now_s = time.monotonic()
        for shot in [shot for job in self.jobs for shot in job.shots if not shot.ended]:
            if shot.sock is None and now_s >= shot.starts_s:
                self._start(shot, now_s)
            elif shot.sock is not None and now_s >= shot.give_up_s:
                self.selector.unregister(shot.sock)
                shot.give_up(now_s)

    def _start(self, shot: Shot, now_s: float) -> None:
        shot.start(now_s)
        if not shot.ended:
            assert shot.sock is not None
            self.selector.register(shot.sock, shot.wants(), shot)

    def _advance(self, shot: Shot) -> None:
        assert shot.sock is not None
        # Unregistered first: a closed socket can no longer be.
        self.selector.unregister(shot.sock)
        shot.advance()
        if not shot.ended:
            self.selector.register(shot.sock, shot.wants(), shot)

    def _answer_finished(self) -> None:
        for job in [job for job in self.jobs if all(shot.ended for shot in job.shots)]:
            self.jobs.remove(job)
            reply({"id": job.number, "seen": [shot.seen(self.origin_s) for shot in job.shots]})

    def _read_commands(self) -> bool:
        try:
            data = os.read(0, READ_BYTES)
        except BlockingIOError:
            return True
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, command: Command) -> None:
        number, now_s = command["id"], time.monotonic()
        if command["do"] == "shoot":
            self.jobs.append(Job(number, [Shot(spec, now_s) for spec in command["shots"]]))
        elif command["do"] == "hold":
            self.held[command["key"]] = {
                path: connected((host, port)) for path, (host, port) in command["addresses"].items()
            }
            reply({"id": number, "seen": []})
        elif command["do"] == "look":
            held = self.held.get(command["key"], {})
            reply(
                {
                    "id": number,
                    "seen": [looked_at(path, sock, self.origin_s) for path, sock in held.items()],
                }
            )
        elif command["do"] == "spend":
            self._spend(number, command)

    def _spend(self, number: int, command: Command) -> None:
        held, now_s = self.held.pop(command["key"], {}), time.monotonic()
        shots = []
        for spec in command["shots"]:
            sock = held.pop(spec["path"], None)
            if sock is not None:
                shots.append(Shot(spec, now_s, sock))
        for left in held.values():
            if left is not None:
                left.close()
        for shot in shots:
            self._start(shot, now_s)
        self.jobs.append(Job(number, shots))


def new_socket() -> socket.socket:
    """A socket whose source address tells a probe from the target's own traffic."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The port is chosen at connect, so that thousands of closed connections do not use up the range.
    sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    sock.bind((SOURCE, 0))
    return sock


def connected(address: tuple[str, int], within_s: float = 1.0) -> socket.socket | None:
    """An open connection to hold, or None."""
    sock = new_socket()
    sock.settimeout(within_s)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        return None
    sock.setblocking(False)
    return sock


def looked_at(path: str, sock: socket.socket | None, origin_s: float) -> Seen:
    """One look at a held connection: without failure while it is open and silent."""
    failure = "refused" if sock is None else None
    if sock is not None:
        try:
            failure = None if sock.recv(1, socket.MSG_PEEK) else "eof"
        except (BlockingIOError, InterruptedError):
            failure = None
        except OSError as error:
            failure = FAILURES.get(error.errno or 0, "failed")
    return {
        "path": path,
        "connection": "established",
        "probed_ms": (time.monotonic() - origin_s) * 1000,
        "connected_after_ms": None if sock is None else 0.0,
        "first_byte_after_ms": None,
        "last_byte_after_ms": None,
        "closed_after_ms": None if failure is None else 0.0,
        "received_bytes": 0,
        "failure": failure,
        "protocol": "tcp",
        "answer": None,
    }


def as_text(begin: bytes) -> str:
    """The first line of what an answer begins with, with escapes for what is no printable ASCII."""
    return begin.partition(b"\r\n")[0].decode("latin-1").encode("unicode_escape").decode()


def reply(message: dict[str, int | list[Seen]]) -> None:
    """One line to the parent. The pipe is read at once and lines are short, so this does not block for long."""
    data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    try:
        Worker(float(sys.argv[1])).run()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
