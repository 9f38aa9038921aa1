"""A server small enough to know everything about it, for tests of the harness. Standard library only, and little of it: hundreds
of tests start one.

`prepare STATE` writes a database and prints a token; `serve STATE` listens on 127.0.0.1:$PORT.
"""

import contextlib
import datetime as dt
import itertools
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path

TOKEN = "trivial-token-0123456789"
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"e\r\n: hello\n\ndata:\r\n"
    b'2e\r\n {"n": 1}\n\nevent: tick\nid: 7\ndata: a\ndata: b\n\n\r\n'
)


class Server:
    """Answers by path; what it was sent is told back."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.numbers = itertools.count(1)

    def serve(self, port: int) -> None:
        """Listen until SIGTERM, then say goodbye."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        with socket.create_server(("127.0.0.1", port), backlog=100) as listening:
            print(f"listening on {port} with {TOKEN}", flush=True)
            try:
                while True:
                    connection, peer = listening.accept()
                    talk = (connection, str(peer[0]))
                    threading.Thread(target=self.converse, args=talk, daemon=True).start()
            finally:
                print("goodbye", flush=True)

    def converse(self, connection: socket.socket, peer: str) -> None:
        """One request per connection."""
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as sent:
            head = []
            while (line := sent.readline().decode()) not in {"\r\n", ""}:
                head.append(line.removesuffix("\r\n"))
            if not line:
                return
            method, path, _ = head[0].split(" ")
            pairs = (line.partition(": ") for line in head[1:])
            headers = {name.lower(): value for name, _, value in pairs}
            body = sent.read(int(headers.get("content-length", 0)))
            answer = self.answer(method, path, headers, body, peer)
            if answer is not None:
                connection.sendall(answer)
            if path == "/events/endless":
                sent.read()

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes, peer: str
    ) -> bytes | None:
        """The bytes of an answer; None for none at all."""
        asked = next(self.numbers)
        if path == "/silence":
            return None
        if path.startswith("/status/"):
            return response(int(path[8:]), {"status": path[8:]})
        if path == "/text":
            return response(200, "plain words", [("X-Thing", "a"), ("X-Thing", "b")])
        if path.startswith("/said/"):
            return response(200, bytes.fromhex(path[6:]).decode())
        if path.startswith("/events/"):
            return EVENTS + (b"0\r\n\r\n" if path == "/events/whole" else b"")
        if path == "/page":
            return response(200, "x" * 20_000)
        documents = {
            "/readyz": lambda: {"ready": True},
            "/token": lambda: {"token": "issued-token-abcdef", "id": 7},
            "/asked": lambda: {"asked": asked, "pid": os.getpid()},
            "/time": lambda: {
                "time": time.time(),
                "datetime": dt.datetime.now(dt.UTC).timestamp(),
                "monotonic": time.monotonic(),
            },
            "/config": (self.state / "config.yaml").read_text,
            "/environment": lambda: dict(os.environ),
            "/add": self.add,
            "/echo": lambda: {
                "method": method,
                "headers": headers,
                "body": body.decode(),
                "peer": peer,
            },
        }
        if path not in documents:
            return response(404, {"path": path})
        return response(200, documents[path]())

    def add(self) -> dict[str, int]:
        """One transaction with two rows: no reader may see only one of them."""
        with sqlite3.connect(self.state / "trivial.db", isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO effects (name) VALUES ('one')")
            connection.execute("INSERT INTO effects (name) VALUES ('two')")
            connection.execute("COMMIT")
        return {"added": 2}


def response(status: int, document: object, headers: list[tuple[str, str]] | None = None) -> bytes:
    """A whole answer; a text is sent as it is."""
    body = document if isinstance(document, str) else json.dumps(document)
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Length: {len(body.encode())}",
        "Connection: close",
    ]
    lines += [f"{name}: {value}" for name, value in headers or []]
    return "\r\n".join([*lines, "", body]).encode()


def prepare(state: Path) -> None:
    """A database in WAL mode, and a token that must not be seen."""
    connection = sqlite3.connect(state / "trivial.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE effects (id INTEGER PRIMARY KEY, name TEXT NOT NULL, raw BLOB)"
    )
    connection.execute("INSERT INTO effects (name, raw) VALUES ('zero', x'00ff')")
    connection.commit()
    connection.close()
    (state / "events.jsonl").write_text('{"what": "prepared"}\n{"what": "torn')
    print(json.dumps({"token": TOKEN, "greeting": "hello", "empty": []}))


def main() -> None:
    """Do what the first argument says, unless the environment wants a failure."""
    what, state = sys.argv[1], Path(sys.argv[2])
    if what == "prepare":
        prepare(state)
        return
    if "EXIT_WITH" in os.environ:
        print("refusing to start: told to", file=sys.stderr)
        sys.exit(int(os.environ["EXIT_WITH"]))
    if "NEVER_READY" in os.environ:
        print(f"waiting for ever with {TOKEN}", flush=True)
        signal.pause()
    Server(state).serve(int(os.environ["PORT"]))


if __name__ == "__main__":
    main()
