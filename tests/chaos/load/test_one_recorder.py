"""The same answer is the same evidence, whoever asked for it."""

import asyncio
import gzip
import json
from pathlib import Path

import msgspec

from chaos.answers import MAX_BODY_BYTES, body_column, headers_column
from chaos.evidence.redaction import Redactor
from chaos.http import build_request, send_once
from chaos.load.plan import Clients
from tests.builders.http_servers import Action, scripted
from tests.builders.load_runs import run_load

JSON = '{"ok":true,"n":1.50,"big":12345678901234567890123,"a":1,"a":2,"name":"é"}'.encode()
CLOSE = b"Connection: close\r\n"


def whole(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body), body)


ANSWERS: list[list[Action]] = [
    [whole(JSON, CLOSE)],
    [whole(JSON)],
    # Now its head is known to the load.
    [whole(JSON)],
    [whole(b"\xef\xbb\xbf" + JSON[3:])],
    [whole(b"\xff" + JSON[1:])],
    [whole(gzip.compress(JSON, mtime=0), b"Content-Encoding: gzip\r\n")],
    [whole(JSON, "X-Name: Zürich, 東京\r\n".encode())],
    [whole(JSON, "X-Name: Zürich\r\n".encode("latin-1"))],
    [whole(JSON, b"Set-Cookie: a=1\r\nset-cookie: b=2\r\n")],
    [whole(b'{"pad":"' + b"x" * MAX_BODY_BYTES + b'"}')],
    [whole(b"[1,\n2]")],
    [whole(b"plain")],
    [whole(b"")],
    [whole(b'{"n":NaN}')],
    [b"HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"],
    [b"HTTP/1.1 204 No Content\r\n\r\n"],
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"],
    [b"HTTP/1.0 200 OK\r\n\r\n" + JSON, "close"],
    [whole(JSON)[:-5], "close"],
    [b"not HTTP at all\r\n\r\n", "close"],
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"a":"\r\n',
        b'6\r\nplante\r\n7\r\nd-token\r\n2\r\n"}\r\n0\r\n\r\n',
    ],
]


def test_load_and_request_record_the_same(tmp_path: Path) -> None:
    def script(_: bytes, number: int) -> list[Action]:
        return ANSWERS[number % len(ANSWERS)]

    # Nothing is used again: which close is seen in time is no matter of this test.
    load = run_load(
        tmp_path, script, Clients(1, 60), at_most=len(ANSWERS), timeout_s=60.0, keep_alive_s=0.0
    )
    by_load = [
        (
            row.status,
            row.outcome,
            row.error,
            bytes(row.response),
            bytes(row.headers),
            row.close_framed,
        )
        for row in (load.responses[request.seq] for request in load.requests)
    ]

    async def ask() -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        async with scripted(script) as server:
            request = build_request("GET", "/x", "127.0.0.1")
            for _ in ANSWERS:
                answer = await send_once("127.0.0.1", server.port, request, timeout_s=60.0)
                body = body_column(answer.body) if answer.outcome == "ok" else b"null"
                found.append(
                    (
                        answer.status,
                        answer.outcome,
                        answer.error,
                        body,
                        headers_column(answer.headers),
                        answer.close_framed,
                    )
                )
        return found

    assert by_load == asyncio.run(ask())
    assert len({row[2] for row in by_load}) == 9
    assert msgspec.json.decode(by_load[5][3]) == json.loads(JSON)
    assert [row[5] for row in by_load].count(True) == 1
    # What was sent in two chunks is one text to whoever looks for secrets.
    assert Redactor({"planted-token": "t"}, []).redact(by_load[-1][3]) == b'{"a":"[redacted]"}'
