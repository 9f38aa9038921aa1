"""The stream: who may open it, and what it answers."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from litestar import WebSocket, websocket
from litestar.datastructures import State
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.gateway.app import assemble
from service.http.guards import PUBLIC
from service.http.routing import Sockets
from tests.service.gateway.streams import closing_of, exchange, opened
from tests.service.running import Gateway, new_state, rows, running


def refused(gateway: Gateway, token: str | None) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, opened(gateway, token):
        pass
    return caught.value


def test_only_an_operator_opens_a_stream(gateway: Gateway) -> None:
    absent = refused(gateway, None).response
    assert absent.status_code == 401
    assert absent.headers["WWW-Authenticate"] == "Bearer"
    forged = refused(gateway, "tok_x.y").response
    assert forged.status_code == 401
    assert forged.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert json.loads(forged.body)["request_id"] == forged.headers["X-Request-Id"]
    assert refused(gateway, gateway.state.observer).response.status_code == 403


@pytest.mark.parametrize("path", ["/", "/tasks", "/v1/stream/x", "/v1/none", "/healthz"])
def test_where_there_is_no_stream_the_answer_is_a_problem(gateway: Gateway, path: str) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"ws://127.0.0.1:{gateway.port}{path}", open_timeout=20),
    ):
        pass
    answer = caught.value.response
    told = json.loads(answer.body)
    assert (answer.status_code, told["status"], told["code"]) == (404, 404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert gateway.operator("GET", "/v1/stream").json["code"] == "method_not_allowed"


def test_a_stream_that_fails_before_it_opens_is_a_problem_too() -> None:
    @websocket("/fails", opt=PUBLIC)
    async def fails(socket: WebSocket[object, object, State]) -> None:
        raise ZeroDivisionError("secret")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope: Any = {
        "type": "websocket",
        "path": "/fails",
        "headers": [],
        "state": {"request_id": "req_1"},
        "query_string": b"",
    }
    asyncio.run(Sockets(assemble([fails]))(scope, receive, send))
    start, answer = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 500)
    assert json.loads(answer["body"])["code"] == "internal_error"


def test_only_the_protocol_is_echoed(gateway: Gateway) -> None:
    with opened(gateway, gateway.state.operator) as stream:
        assert stream.subprotocol == "sonia.v1"
        ready = json.loads(stream.recv(20))
        assert ready["type"] == "ready"
        assert ready["actor_id"] == gateway.state.operator.split(".")[0]


def test_frames_are_answered_and_bad_ones_leave_it_usable(gateway: Gateway) -> None:
    with opened(gateway, gateway.state.operator) as stream:
        stream.recv(20)
        assert exchange(stream, {"type": "ping", "id": "1"}) == {"type": "pong", "id": "1"}
        for bad in ("x", "[]", '{"type":"other"}', '{"type":"turn"}', '{"type":"turn","text":""}'):
            assert exchange(stream, bad)["code"] == "invalid_frame", bad
        unknown = exchange(stream, {"type": "turn", "id": "2", "text": "x", "session_id": "ses_x"})
        assert (unknown["id"], unknown["code"]) == ("2", "not_found")
        turn = exchange(stream, {"type": "turn", "id": "3", "text": "hello", "actor": "eve"})
        assert (turn["type"], turn["id"]) == ("turn", "3")
    found = rows(
        gateway.state,
        "SELECT actor_id, effect_table, effect_id, method FROM audit WHERE request_id = ?",
        turn["request_id"],
    )
    actor_id = gateway.state.operator.split(".")[0]
    assert found == [(actor_id, "turns", turn["answer"]["turn_id"], "WEBSOCKET")]


def test_a_plain_request_to_the_stream_is_no_upgrade(gateway: Gateway) -> None:
    assert gateway.operator("GET", "/v1/stream").status in {404, 405}


def test_a_client_that_vanishes_leaves_the_gateway_well(gateway: Gateway) -> None:
    with opened(gateway, gateway.state.operator) as stream:
        stream.recv(20)
        stream.socket.shutdown(socket.SHUT_RDWR)
    assert gateway.call("GET", "/healthz").status == 200


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state")
    with running(state) as gateway, opened(gateway, state.operator) as stream:
        stream.recv(20)
        assert gateway.stop() == 0
        assert closing_of(stream) == 1012
