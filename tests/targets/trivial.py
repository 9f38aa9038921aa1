"""A server small enough to know everything about it, for tests of the harness. Standard library only.

`prepare STATE` writes a database and prints a token; `serve STATE` listens on 127.0.0.1:$PORT.
"""

import asyncio
import datetime as dt
import json
import os
import signal
import sqlite3
import sys
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
        self.asked = 0

    async def serve(self, port: int) -> None:
        """Listen until SIGTERM, then say goodbye."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        server = await asyncio.start_server(self.converse, "127.0.0.1", port)
        print(f"listening on {port} with {TOKEN}", flush=True)
        await stop.wait()
        server.close()
        print("goodbye", flush=True)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            pairs = (line.partition(": ") for line in head[1:] if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            peer = writer.get_extra_info("peername")[0]
            answer = self.answer(method, path, headers, body, peer)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            if path == "/events/endless":
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes, peer: str
    ) -> bytes | None:
        """The bytes of an answer; None for none at all."""
        self.asked += 1
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
            "/asked": lambda: {"asked": self.asked, "pid": os.getpid()},
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
    asyncio.run(Server(state).serve(int(os.environ["PORT"])))


if __name__ == "__main__":
    main()
