"""A stream ends with its token, whether anything is sent or not."""

import time
from pathlib import Path

from tests.service.gateway.streams import closing_of, exchange, opened
from tests.service.running import Gateway, alter, new_state, rows, running


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
            # Any change of a token makes the gateway read all of them anew.
            gateway.operator("POST", "/v1/tokens", {"role": "observer"})
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


def test_a_stream_without_authentication_stays_open(tmp_path: Path) -> None:
    with (
        running(
            new_state(tmp_path / "state", "auth: {enabled: false, everybody_is_operator: true}\n")
        ) as gateway,
        opened(gateway, None) as stream,
    ):
        stream.recv(20)
        assert exchange(stream, {"type": "ping"})["type"] == "pong"
