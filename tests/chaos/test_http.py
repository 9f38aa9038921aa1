"""One request and every way in which it can end."""

import asyncio
import contextlib
import gc
import socket
import ssl
import subprocess
import weakref
from pathlib import Path

import pytest

from chaos.http import (
    Answer,
    AnswerReader,
    NotHttp,
    build_request,
    send_once,
)
from tests.builders.http_servers import OK, Action, closed_port, scripted

GET = build_request("GET", "/x", "127.0.0.1")


def exchange(
    actions: list[Action], request: bytes = GET, timeout_s: float = 5.0, max_body_bytes: int = 1000
) -> Answer:
    async def run() -> Answer:
        async with scripted(lambda *_: actions) as server:
            return await send_once(
                "127.0.0.1",
                server.port,
                request,
                timeout_s=timeout_s,
                max_body_bytes=max_body_bytes,
            )

    return asyncio.run(run())


def test_a_whole_answer_is_ok() -> None:
    answer = exchange([OK])
    assert (answer.status, answer.outcome, answer.error) == (200, "ok", None)
    assert answer.body == b'{"ok":true}'
    assert answer.headers == [("content-type", "application/json"), ("content-length", "11")]
    assert answer.connected_s is not None
    assert answer.sent_s is not None
    assert answer.first_byte_s is not None
    assert answer.connected_s <= answer.sent_s <= answer.first_byte_s <= answer.done_s


def test_an_answer_in_single_bytes_is_the_same() -> None:
    answer = exchange([OK[i : i + 1] for i in range(len(OK))])
    assert (answer.status, answer.body) == (200, b'{"ok":true}')


@pytest.mark.parametrize(
    ("actions", "status", "body"),
    [
        pytest.param(
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                b"2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
            ],
            200,
            b"abcde",
            id="chunked",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil ", b"the end", "close"],
            200,
            b"until the end",
            id="delimited by close",
        ),
        pytest.param([b"HTTP/1.0 200 OK\r\n\r\nold", "close"], 200, b"old", id="HTTP/1.0"),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b"", id="204"),
        pytest.param(
            [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"], 304, b"", id="304"
        ),
        pytest.param(
            [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK],
            200,
            b'{"ok":true}',
            id="interim answer",
        ),
        pytest.param(
            [b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"],
            302,
            b"",
            id="redirect",
        ),
        pytest.param(
            [b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxyz"],
            101,
            b"",
            id="upgrade",
        ),
        pytest.param(
            [b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\n\r\n"],
            500,
            b"no",
            id="surplus bytes",
        ),
    ],
)
def test_answers_are_framed_as_the_protocol_says(
    actions: list[Action], status: int, body: bytes
) -> None:
    answer = exchange(actions)
    assert (answer.outcome, answer.status, answer.body) == ("ok", status, body)


def test_interim_headers_are_not_those_of_the_answer() -> None:
    answer = exchange([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK])
    assert "link" not in dict(answer.headers)


def test_the_answer_to_head_has_no_body() -> None:
    head = build_request("HEAD", "/x", "h")
    answer = exchange([b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"], head)
    assert (answer.outcome, answer.status, answer.body) == ("ok", 200, b"")


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        pytest.param(["close"], "closed without a whole answer", id="closed"),
        pytest.param(["reset"], "reset", id="reset"),
        pytest.param(["silence"], "no answer within", id="silence"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "close"],
            "broke off after status 200 and 3 bytes",
            id="short body",
        ),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "close"],
            "broke off after status 200 and 3 bytes",
            id="short chunks",
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\nConte", "close"], "closed", id="half a head"),
        pytest.param([b"SSH-2.0-OpenSSH_9.2\r\n"], "not HTTP", id="another protocol"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], "not HTTP", id="bad length"
        ),
    ],
)
def test_without_a_whole_answer_it_may_have_happened(actions: list[Action], words: str) -> None:
    answer = exchange(actions, timeout_s=0.3 if actions == ["silence"] else 5.0)
    assert (answer.outcome, answer.status) == ("info", None)
    assert words in (answer.error or "")


def test_a_refused_connection_certainly_did_not_reach_the_system() -> None:
    answer = asyncio.run(send_once("127.0.0.1", closed_port(), GET, timeout_s=5))
    assert (answer.outcome, answer.status, answer.sent_s) == ("error", None, None)
    assert answer.error == "Connection refused"


def test_a_connection_that_is_never_accepted_certainly_did_not_reach_the_system() -> None:
    async def run(port: int) -> Answer:
        return await send_once("127.0.0.1", port, GET, timeout_s=0.3)

    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # This one fills the queue of connections that wait to be accepted.
        first.connect(listener.getsockname())
        with socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(listener.getsockname())
            answer = asyncio.run(run(listener.getsockname()[1]))
    assert (answer.outcome, answer.sent_s) == ("error", None)
    assert answer.error == "no answer within 0.3 s"


def test_a_long_body_is_read_to_its_end_but_not_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"
    answer = exchange([head, b"x" * 50_000], max_body_bytes=1000)
    assert (answer.outcome, answer.status, len(answer.body)) == ("ok", 200, 1000)
    assert answer.error == "the body was cut: 49000 bytes more"


def test_the_source_address_tells_who_connects() -> None:
    async def run() -> list[str]:
        async with scripted(lambda *_: [OK]) as server:
            await send_once("127.0.0.1", server.port, GET, source="127.0.0.3", timeout_s=5)
            await send_once("127.0.0.1", server.port, GET, source="127.0.0.2", timeout_s=5)
            return server.clients

    assert asyncio.run(run()) == ["127.0.0.3", "127.0.0.2"]


def test_nothing_is_sent_twice() -> None:
    async def run() -> list[bytes]:
        async with scripted(lambda *_: ["reset"]) as server:
            await send_once("127.0.0.1", server.port, GET, timeout_s=5)
            return server.requests

    assert len(asyncio.run(run())) == 1


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    argv = [*f"{command} {names}".split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()

    async def run(context: ssl.SSLContext) -> Answer:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await send_once("127.0.0.1", port, GET, timeout_s=5, ssl=context)

    assert asyncio.run(run(trusting)).status == 200
    stranger = asyncio.run(run(ssl.create_default_context()))
    assert stranger.outcome == "error"
    assert (stranger.error or "").startswith("TLS: ")


class TestBuildRequest:
    def test_adds_host_and_length(self) -> None:
        expected = b"POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Y: \xfc\r\nContent-Length: 2\r\n\r\n{}"
        assert build_request("POST", "/a?b=c", "h:1", [("X-Y", "ü")], b"{}") == expected
        assert build_request("POST", "/a?b=c", "h:1", {"X-Y": "ü"}, b"{}") == expected

    def test_a_post_without_body_says_so(self) -> None:
        assert b"Content-Length: 0\r\n" in build_request("POST", "/", "h")
        assert b"Content-Length" not in build_request("GET", "/", "h")

    def test_what_is_given_is_not_given_twice(self) -> None:
        data = build_request("POST", "/", "h", [("host", "other"), ("content-length", "9")], b"x")
        assert data == b"POST / HTTP/1.1\r\nhost: other\r\ncontent-length: 9\r\n\r\nx"

    @pytest.mark.parametrize(
        ("method", "path", "host", "headers"),
        [
            ("GET /", "/", "h", []),
            ("", "/", "h", []),
            ("GET", "/ HTTP/1.1\r\nX: y", "h", []),
            ("GET", "/a b", "h", []),
            ("GET", "/é", "h", []),
            ("GET", "", "h", []),
            ("GET", "/", "h\r\nX: y", []),
            ("GET", "/", "h", [("X", "a\r\nY: b")]),
            ("GET", "/", "h", [("X", "a\nY: b")]),
            ("GET", "/", "h", [("X", "a\x00")]),
            ("GET", "/", "h", [("X", "€")]),
            ("GET", "/", "h", [("X: y\r\nZ", "a")]),
            ("GET", "/", "h", [("X y", "a")]),
        ],
    )
    def test_refuses_what_would_end_a_line(
        self, method: str, path: str, host: str, headers: list[tuple[str, str]]
    ) -> None:
        with pytest.raises(ValueError, match=r"method|path|header"):
            build_request(method, path, host, headers)


class TestReader:
    def test_tells_when_the_connection_can_be_used_again(self) -> None:
        reader = AnswerReader(head=False)
        reader.feed(OK)
        assert (reader.complete, reader.reusable) == (True, True)
        reader = AnswerReader(head=False)
        reader.feed(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (reader.complete, reader.reusable) == (True, False)
        reader = AnswerReader(head=False)
        reader.feed(OK + OK)
        assert (reader.complete, reader.reusable, bytes(reader.body)) == (
            True,
            False,
            b'{"ok":true}',
        )

    def test_refuses_two_framings(self) -> None:
        reader = AnswerReader(head=False)
        with pytest.raises(NotHttp):
            reader.feed(
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
            )

    @pytest.mark.parametrize("data", [OK, b"nonsense\r\n\r\n"])
    def test_is_freed_without_the_collector(self, data: bytes) -> None:
        # The load process runs without it.
        gc.disable()
        try:
            reader = AnswerReader(head=False)
            with contextlib.suppress(NotHttp):
                reader.feed(data)
            gone = weakref.ref(reader)
            del reader
            assert gone() is None
        finally:
            gc.enable()
