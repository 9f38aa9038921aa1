"""The stream: who may open it, what it answers, and that it ends with its token."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.service.running import Gateway, alter, new_state, rows, running, sonia


@contextmanager
def opened(gateway: Gateway, token: str | None) -> Iterator[ClientConnection]:
    offered = [Subprotocol("sonia.v1")]
    if token is not None:
        offered.append(Subprotocol(f"sonia.bearer.{token}"))
    url = f"ws://127.0.0.1:{gateway.port}/v1/stream"
    with connect(url, subprotocols=offered, open_timeout=20) as stream:
        yield stream


def exchange(stream: ClientConnection, frame: object) -> Any:
    stream.send(frame if isinstance(frame, str) else json.dumps(frame))
    return json.loads(stream.recv(20))


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
    assert refused(gateway, gateway.state.service).response.status_code == 401


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


def closing_of(stream: ClientConnection) -> int:
    """Read until the stream is closed, sending nothing, and return the code."""

    def drain() -> None:
        while True:
            stream.recv(20)

    with pytest.raises(ConnectionClosed) as caught:
        drain()
    assert caught.value.rcvd is not None
    return int(caught.value.rcvd.code)


def test_an_idle_stream_ends_when_its_token_is_revoked(gateway: Gateway) -> None:
    issued = gateway.operator("POST", "/v1/tokens", {"role": "operator"}).json
    with opened(gateway, issued["token"]) as stream:
        stream.recv(20)
        assert gateway.operator("DELETE", f"/v1/tokens/{issued['id']}").status == 204
        began = time.monotonic()
        assert closing_of(stream) == 4401
        # The bound of the design; a hung stream would run into the time-out of 20 s.
        assert time.monotonic() - began < 10


def test_an_idle_stream_ends_when_its_token_expires(gateway: Gateway) -> None:
    # Long enough to open the stream on a slow machine.
    issued = gateway.operator("POST", "/v1/tokens", {"role": "operator", "ttl_s": 4}).json
    with opened(gateway, issued["token"]) as stream:
        assert closing_of(stream) == 4401


def test_a_stream_ends_with_the_secret_that_opened_it(gateway: Gateway) -> None:
    issued = gateway.operator("POST", "/v1/tokens", {"role": "operator"}).json
    with opened(gateway, issued["token"]) as old:
        old.recv(20)
        rotated = gateway.operator(
            "POST", f"/v1/tokens/{issued['id']}/rotate", {"window_s": 0.5}
        ).json
        with opened(gateway, rotated["token"]) as new:
            new.recv(20)
            assert closing_of(old) == 4401
            assert exchange(new, {"type": "ping"})["type"] == "pong"


def test_a_stream_ends_when_its_token_loses_its_role(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state")
    with running(state) as gateway:
        issued = gateway.operator("POST", "/v1/tokens", {"role": "operator"}).json
        with opened(gateway, issued["token"]) as stream:
            stream.recv(20)
            alter(state, "UPDATE tokens SET role = 'observer' WHERE id = ?", issued["id"])
            # Any change by a command makes the gateway read all tokens anew.
            assert sonia(state, "token", "issue", "--role", "observer").returncode == 0
            assert closing_of(stream) == 4403


def test_no_frame_is_served_after_the_token_ended(tmp_path: Path) -> None:
    """With a slow timer, it is the look before each frame that refuses."""
    state = new_state(tmp_path / "state", "auth: {stream_recheck_s: 3600}\n")
    with running(state) as gateway:
        issued = gateway.operator("POST", "/v1/tokens", {"role": "operator"}).json
        with opened(gateway, issued["token"]) as stream:
            stream.recv(20)
            gateway.operator("DELETE", f"/v1/tokens/{issued['id']}")
            stream.send('{"type":"turn","text":"too late"}')
            assert closing_of(stream) == 4401
    assert rows(state, "SELECT count(*) FROM turns") == [(0,)]


def test_a_plain_request_to_the_stream_is_no_upgrade(gateway: Gateway) -> None:
    assert gateway.operator("GET", "/v1/stream").status in {404, 405}


def test_a_client_that_vanishes_leaves_the_gateway_well(gateway: Gateway) -> None:
    with opened(gateway, gateway.state.operator) as stream:
        stream.recv(20)
        stream.socket.shutdown(socket.SHUT_RDWR)
    assert gateway.call("GET", "/healthz").status == 200


def test_a_stream_without_authentication_stays_open(tmp_path: Path) -> None:
    with (
        running(new_state(tmp_path / "state", "auth: {enabled: false}\n")) as gateway,
        opened(gateway, None) as stream,
    ):
        stream.recv(20)
        assert exchange(stream, {"type": "ping"})["type"] == "pong"


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state")
    with running(state) as gateway, opened(gateway, state.operator) as stream:
        stream.recv(20)
        assert gateway.stop() == 0
        assert closing_of(stream) == 1012
