"""The load process against servers that answer, refuse, hang, close and lie."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos.answers import MAX_BODY_BYTES
from chaos.evidence import schema
from chaos.load.plan import Bursts, Clients, Message, Rates, Stage
from tests.builders.http_servers import OK, Action, closed_port
from tests.builders.load_runs import ROOT, rows, run_load

CLOSE_AFTER = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class TestShapes:
    def test_open_loop(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Rates([Stage(200, 0.5)]))
        summary = result.summary
        assert summary is not None
        assert (summary.planned, summary.sent, summary.done) == (100, 100, 100)
        assert summary.problem is None
        intended = [row.intended_ms for row in result.requests]
        assert intended == pytest.approx([summary.began_ms + 5 * k for k in range(100)], abs=0.01)
        assert all(row.sent_ms >= row.intended_ms for row in result.requests)
        assert all(result.responses[row.seq].done_ms >= row.sent_ms for row in result.requests)
        assert [row.seq for row in result.requests] == list(range(100, 200))

    def test_a_server_that_hangs_does_not_slow_an_open_loop(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: ["silence"], Rates([Stage(100, 0.3)]), timeout_s=0.5)
        assert result.outcomes() == ["info"] * 30
        errors = {row.error for row in result.responses.values()}
        assert errors == {"no answer within 0.5 s"}
        assert result.summary is not None
        assert (result.summary.sent, result.summary.done) == (30, 0)

    def test_closed_loop(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Clients(4, 0.3))
        summary = result.summary
        assert summary is not None
        assert summary.planned == summary.sent == summary.done == len(result.server.requests)
        assert summary.problem is None
        assert len(result.server.clients) == 4
        ends = sorted((row.done_ms, -1) for row in result.responses.values())
        begins = sorted((row.sent_ms, 1) for row in result.requests)
        under_way = most = 0
        for _, change in sorted(ends + begins):
            under_way += change
            most = max(most, under_way)
        assert most <= 4

    def test_a_closed_loop_ends_at_most(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Clients(4, 30), at_most=10)
        assert result.outcomes() == ["ok"] * 10
        assert result.summary is not None
        assert result.summary.problem is None

    def test_bursts_leave_together_on_a_connection_each(self, tmp_path: Path) -> None:
        def script(_: bytes, number: int) -> list[Action]:
            # Nobody is answered before everybody has asked, so only as many at once can get through.
            return [OK] if number >= 99 else ["silence"]

        result = run_load(tmp_path, script, Bursts(100), timeout_s=1.0)
        assert len(result.server.requests) == 100
        assert len(result.server.clients) == 100
        assert sorted(result.outcomes()) == ["info"] * 99 + ["ok"]

    def test_several_bursts(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Bursts(20, times=3, every_s=0.2))
        assert result.outcomes() == ["ok"] * 60
        began = [row.intended_ms for row in result.requests]
        assert began[20] - began[0] == pytest.approx(200, abs=0.01)
        assert began[0] == began[19]

    def test_a_burst_of_a_thousand(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Bursts(1000))
        assert result.outcomes() == ["ok"] * 1000
        assert len(result.server.clients) == 1000


class TestOutcomes:
    def test_refused_connections_certainly_did_not_reach_the_system(self, tmp_path: Path) -> None:
        port = closed_port()
        result = run_load(tmp_path, lambda *_: [OK], Rates([Stage(100, 0.1)]), port=port)
        assert result.outcomes() == ["error"] * 10
        assert {row.error for row in result.responses.values()} == {"Connection refused"}
        assert result.summary is not None
        assert (result.summary.sent, result.summary.done, result.summary.problem) == (10, 0, None)

    def test_a_refused_client_does_not_spin(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Clients(1, 0.3), port=closed_port())
        assert 1 < len(result.requests) <= 31

    @pytest.mark.parametrize(
        ("actions", "words"),
        [
            (["close"], "without a whole answer"),
            (["reset"], "reset"),
            ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "close"], "200 and 3 bytes"),
            ([b"SSH-2.0-OpenSSH_9.2\r\n"], "not HTTP"),
        ],
    )
    def test_a_request_without_answer_may_have_happened_and_is_not_sent_again(
        self, tmp_path: Path, actions: list[Action], words: str
    ) -> None:
        result = run_load(tmp_path, lambda *_: actions, Rates([Stage(100, 0.1)]))
        assert result.outcomes() == ["info"] * 10
        assert all(row.status is None for row in result.responses.values())
        assert all(words in (row.error or "") for row in result.responses.values())
        assert len(result.server.requests) == 10

    @pytest.mark.parametrize("actions", [[OK, "close"], [CLOSE_AFTER, "close"], [CLOSE_AFTER]])
    def test_a_connection_that_ends_between_requests_loses_none(
        self, tmp_path: Path, actions: list[Action]
    ) -> None:
        result = run_load(tmp_path, lambda *_: actions, Rates([Stage(50, 0.2)]))
        assert result.outcomes() == ["ok"] * 10
        assert len(result.server.requests) == 10
        assert len(result.server.clients) == 10

    def test_bytes_that_nobody_asked_for_end_the_connection(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK + OK], Rates([Stage(50, 0.2)]))
        assert result.outcomes() == ["ok"] * 10
        assert len(result.server.clients) == 10

    def test_an_error_status_is_an_answer(self, tmp_path: Path) -> None:
        answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy"
        result = run_load(tmp_path, lambda *_: [answer], Rates([Stage(100, 0.1)]))
        row = result.responses[100]
        assert (row.status, row.outcome, row.error) == (503, "ok", None)
        assert msgspec.json.decode(row.response) == "busy"
        assert msgspec.json.decode(row.headers) == {"retry-after": "1", "content-length": "4"}


class TestAnswers:
    def test_equal_heads_with_different_bodies_are_told_apart(self, tmp_path: Path) -> None:
        def script(_: bytes, number: int) -> list[Action]:
            body = b'{"number":%03d}' % (number % 9 + 100)
            return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]

        result = run_load(tmp_path, script, Rates([Stage(200, 0.1)]), max_connections=1)
        numbers = [msgspec.json.decode(row.response)["number"] for row in result.responses.values()]
        assert numbers == [number % 9 + 100 for number in range(20)]

    def test_pieces_chunks_interim_answers_and_long_bodies(self, tmp_path: Path) -> None:
        body = b'{"ok":true,"text":"' + b"x" * 30_000 + b'"}'
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        kinds: list[list[Action]] = [
            [OK],
            [OK[:5], OK[5:40], OK[40:]],
            [b"HTTP/1.1 100 Continue\r\n\r\n" + OK],
            [chunked, b"b\r\n" + OK[-11:] + b"\r\n", b"0\r\n\r\n"],
            [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body[:999], body[999:]],
            [b"HTTP/1.1 200 OK\r\n\r\n" + OK[-11:], "close"],
        ]
        result = run_load(
            tmp_path,
            lambda _, number: kinds[number % 6],
            Rates([Stage(300, 0.1)]),
            max_connections=1,
        )
        assert result.outcomes() == ["ok"] * 30
        assert all(msgspec.json.decode(row.response)["ok"] for row in result.responses.values())

    def test_a_body_beyond_the_bound_is_read_but_not_kept(self, tmp_path: Path) -> None:
        length = MAX_BODY_BYTES + 89_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
        result = run_load(tmp_path, lambda *_: [answer], Rates([Stage(20, 0.1)]))
        assert result.outcomes() == ["ok"] * 2
        row = result.responses[100]
        assert msgspec.json.decode(row.response) == "x" * MAX_BODY_BYTES
        assert row.error == "the body was cut: 89000 bytes more"

    def test_head(self, tmp_path: Path) -> None:
        message = Message(method="HEAD", path="/x", route="/x")
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
        result = run_load(
            tmp_path,
            lambda *_: [answer],
            Rates([Stage(100, 0.1)]),
            messages=[message],
            max_connections=1,
        )
        assert result.outcomes() == ["ok"] * 10
        assert len(result.server.clients) == 1
        assert bytes(result.responses[100].response) == b"null"


class TestRecord:
    def test_intents_are_recorded_before_their_first_byte_is_sent(self, tmp_path: Path) -> None:
        behind: list[int] = []

        def script(request: bytes, number: int) -> list[Action]:
            lines = (tmp_path / "requests.turns.jsonl").read_bytes().count(b"\n")
            behind.append(lines - (number + 1))
            return [OK]

        run_load(tmp_path, script, Clients(8, 0.2))
        assert behind
        assert min(behind) >= 0

    def test_the_wire_has_what_the_record_says(self, tmp_path: Path) -> None:
        messages = [
            Message(method="POST", path=f"/{name}/{{i}}", route=f"/{name}/{{i}}", body='{"i":{i}}')
            for name in ("a", "b")
        ]
        result = run_load(
            tmp_path,
            lambda *_: [OK],
            Rates([Stage(200, 0.2)]),
            messages=messages,
            max_connections=1,
        )
        sent = [request.split(b" ")[1].decode() for request in result.server.requests]
        assert sent == [row.path for row in result.requests]
        assert {row.route for row in result.requests} == {"/a/{i}", "/b/{i}"}
        bodies = [request.split(b"\r\n\r\n")[1] for request in result.server.requests]
        assert bodies == [bytes(row.request) for row in result.requests]

    def test_traffic_of_the_harness_comes_from_its_own_address(self, tmp_path: Path) -> None:
        result = run_load(tmp_path, lambda *_: [OK], Bursts(3))
        assert set(result.server.clients) == {"127.0.0.3"}

    def test_a_planted_secret_is_nowhere(self, tmp_path: Path) -> None:
        secret = "planted-3f9a71"
        body = f'{{"echo":"{secret}","other":"sk_abcdef"}}'.encode()
        answer = b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            secret.encode(),
            len(body),
            body,
        )
        message = Message(
            method="GET",
            path=f"/x?t={secret}",
            route="/x",
            headers=[("Authorization", f"Bearer {secret}")],
        )
        result = run_load(
            tmp_path,
            lambda *_: [answer],
            Rates([Stage(100, 0.1)]),
            messages=[message],
            secrets={secret: "token.x"},
            first_secret_seq=7,
            patterns=[r"sk_[a-z]+"],
        )
        assert all(secret.encode() in request for request in result.server.requests)
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert secret.encode() not in written
        assert b"sk_abcdef" not in written
        echo = msgspec.json.decode(result.responses[100].response)
        assert echo == {"echo": "[redacted]", "other": "[redacted]"}
        seen = rows(tmp_path / "secrets.turns.jsonl", "secrets", schema.Secret)
        assert [row.seq for row in seen] == list(range(7, 7 + len(seen)))
        assert len(seen) == 3 * len(result.responses)
        assert {row.found_seq for row in seen} == set(result.responses)
        assert {(row.secret, row.found_in, row.found_at) for row in seen} == {
            ("token.x", "requests", "response"),
            (None, "requests", "response"),
            ("token.x", "requests", "headers"),
        }


class TestEnd:
    @pytest.mark.parametrize(
        ("interrupt", "reason"),
        [
            (lambda process: process.send_signal(signal.SIGTERM), "ended by SIGTERM"),
            (lambda process: process.stdin.close(), "its parent has gone"),
        ],
    )
    def test_what_was_recorded_is_complete(
        self, tmp_path: Path, interrupt: Callable[[Process], None], reason: str
    ) -> None:
        def script(_: bytes, number: int) -> list[Action]:
            return [OK] if number < 50 else ["silence"]

        result = run_load(
            tmp_path, script, Rates([Stage(200, 60)]), interrupt=interrupt, interrupt_after=60
        )
        summary = result.summary
        assert summary is not None
        assert summary.planned == 12_000
        assert 60 <= summary.sent == len(result.requests) < 12_000
        assert summary.problem == f"{summary.sent} of 12000 requests were sent: {reason}"
        # Requests overtake each other on their way: which of them are answered is the server's count.
        outcomes = Counter(result.outcomes())
        assert outcomes["ok"] == 50
        assert set(outcomes) <= {"ok", "info", "error"}
        assert result.exit == 0

    def test_without_room_to_record_nothing_is_sent(self, tmp_path: Path) -> None:
        (tmp_path / "requests.turns.jsonl").symlink_to("/dev/full")
        result = run_load(tmp_path, lambda *_: [OK], Rates([Stage(100, 0.1)]))
        assert result.server.requests == []
        assert result.summary is not None
        assert result.summary.problem == (
            "0 of 10 requests were sent: cannot record the load: No space left on device"
        )

    def test_without_room_for_answers_the_load_ends(self, tmp_path: Path) -> None:
        (tmp_path / "responses.turns.jsonl").symlink_to("/dev/full")
        result = run_load(tmp_path, lambda *_: [OK], Rates([Stage(100, 30)]))
        assert result.summary is not None
        assert 0 < result.summary.sent == len(result.requests) < 3000
        assert "No space left on device" in (result.summary.problem or "")

    def test_too_few_open_files_are_a_problem_and_not_a_smaller_burst(self, tmp_path: Path) -> None:
        limited = ("/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
        result = run_load(tmp_path, lambda *_: [OK], Bursts(100), prefix=limited)
        assert result.summary is not None
        assert result.summary.sent == 0
        assert "100 connections at once" in (result.summary.problem or "")
        assert result.server.clients == []

    def test_a_plan_that_cannot_be_read(self, tmp_path: Path) -> None:
        async def run() -> tuple[int, bytes]:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chaos.load"),
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
            _, errors = await process.communicate(b'{"run_id": 5}\n')
            return await process.wait(), errors

        exit_code, errors = asyncio.run(run())
        assert exit_code == 2
        assert b"the plan cannot be read" in errors
