"""What nobody would send: it is refused for what it is, never with 500 and never with silence."""

import base64
import json
import socket
from pathlib import Path

import pytest

from tests.service.running import Gateway, exchange, new_state, rows, running, sonia

OK = b'{"kind":"x"}'


def sent(gateway: Gateway, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
    """(status, code of the problem) of what the operator sends."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    bearer = {"Authorization": f"Bearer {gateway.state.operator}"}
    method = "GET" if body is None else "POST"
    answer = exchange(gateway.port, method, path, body, {**bearer, **named})
    return answer.status, str(answer.json.get("code", ""))


JSON = {"Content_Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tasks", b'{"kind":"x","payload":{"a":' + b"[" * 900 + b"]" * 900 + b"}}", 400),
        ("/tasks", b'{"kind":"x","other":' + b"[" * 90_000 + b"]" * 90_000 + b"}", 400),
        ("/tasks", b'{"kind":"\xff"}', 400),
        ("/tasks", b'{"kind":"x","payload":{"a":"\xed\xa0\x80"}}', 400),
        ("/tasks", b'{"kind":"\\ud800"}', 400),
        ("/tasks", b'{"kind":"x","payload":{"a":1e999}}', 400),
        ("/tasks", b'{"kind":99999999999999999999999}', 400),
        ("/tasks", b'{"kind":"x","payload":{"a":18446744073709551616}}', 400),
        ("/v1/sessions", b'{"ttl_s":99999999999999999999999}', 400),
        ("/v1/sessions", b'{"ttl_s":1e308}', 400),
        ("/v1/tools/file.read/execute", b'{"arguments":{"path":9999999999999999999}}', 422),
        ("/v1/events?after=1000000000000000001", None, 400),
        ("/v1/events?after=99999999999999999999", None, 400),
        ("/v1/audit?limit=99999999999999999999", None, 400),
        ("/v1/audit?cursor=%ff", None, 400),
        ("/tasks/%ff%00", None, 404),
    ],
)
def test_input_that_no_client_sends_is_refused(
    gateway: Gateway, path: str, body: bytes | None, status: int
) -> None:
    assert sent(gateway, path, body, **JSON)[0] == status


def test_bodies_are_json_that_is_said_to_be_json(gateway: Gateway) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"):
        assert sent(gateway, "/tasks", OK, Content_Type=kind) == (415, "unsupported_media_type")
    assert sent(gateway, "/tasks", OK) == (415, "unsupported_media_type")
    assert sent(gateway, "/tasks", OK, **JSON)[0] == 201


def test_who_may_not_is_told_that_first(gateway: Gateway) -> None:
    observer = {"Authorization": f"Bearer {gateway.state.observer}", "Content-Type": "text/plain"}
    assert exchange(gateway.port, "POST", "/tasks", OK, observer).status == 403
    assert (
        exchange(gateway.port, "POST", "/tasks", OK, {"Content-Type": "text/plain"}).status == 401
    )


def test_pages_and_names_of_others_are_refused_before_authentication(gateway: Gateway) -> None:
    evil = {"Origin": "http://evil.example"}
    for headers in (evil, {**evil, "Authorization": f"Bearer {gateway.state.operator}"}):
        answer = exchange(gateway.port, "POST", "/tasks", OK, headers)
        assert (answer.status, answer.json["code"]) == (403, "foreign_origin")
    looked = gateway.call("GET", "/healthz", headers=evil)
    assert looked.status == 200
    assert not [name for name in looked.headers if name.startswith("access-control")]
    asked = {**evil, "Access-Control-Request-Method": "POST"}
    preflight = gateway.call("OPTIONS", "/tasks", headers=asked)
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    for path in ("/healthz", "/tasks", "/nowhere"):
        assert gateway.call("GET", path, headers={"Host": "evil.example"}).status == 421


def upgraded(gateway: Gateway, offered: str, *more: str) -> tuple[int, bytes]:
    """(status, answer) of the handshake of a WebSocket."""
    lines = (
        "GET /v1/stream HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        f"Sec-WebSocket-Protocol: {offered}",
        *more,
        "\r\n",
    )
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as line:
        line.sendall("\r\n".join(lines).encode())
        answer = line.recv(65_536)
        return int(answer.split()[1]), answer


def test_sockets_are_refused_for_what_is_wrong_with_them(gateway: Gateway) -> None:
    bearer = f"sonia.bearer.{gateway.state.operator}"
    assert upgraded(gateway, f"sonia.v1, {bearer}")[0] == 101
    assert upgraded(gateway, bearer)[0] == 400
    assert upgraded(gateway, f"sonia.v2, {bearer}")[0] == 400
    assert upgraded(gateway, f"sonia.v1, {bearer}, {bearer}")[0] == 401
    assert upgraded(gateway, f"sonia.v1, {bearer}", "Origin: http://evil.example")[0] == 403
    assert upgraded(gateway, f"sonia.v1, {bearer}", "Origin: http://localhost:5000")[0] == 101


def test_frames_are_refused_for_what_is_wrong_with_them(gateway: Gateway) -> None:
    from tests.service.gateway.streams import exchange as say
    from tests.service.gateway.streams import opened

    with opened(gateway, gateway.state.operator) as stream:
        stream.recv(20)
        deep = '{"type":"ping","other":' + "[" * 90_000 + "]" * 90_000 + "}"
        for frame in (deep, '{"type":"ping","id":1e999}', "[" * 900):
            assert say(stream, frame)["code"] == "invalid_frame"
        assert say(stream, {"type": "ping"})["type"] == "pong"


def test_allow_lists_every_method_of_a_path(gateway: Gateway) -> None:
    served: dict[str, set[str]] = {}
    for each in gateway.call("GET", "/v1/routes", gateway.state.observer).json["items"]:
        if each["kind"] == "http":
            served.setdefault(each["path"].replace("{", "").replace("}", ""), set()).add(
                each["method"]
            )
    assert served["/tasks"] == {"GET", "HEAD", "OPTIONS", "POST"}
    for path, methods in served.items():
        assert gateway.call("OPTIONS", path).headers["allow"] == ", ".join(sorted(methods)), path
        refused = gateway.call("BREW" if "GET" in methods else "GET", path)
        if refused.status == 405:
            assert refused.headers["allow"] == ", ".join(sorted(methods)), path


def test_without_authentication_it_starts_when_that_is_said_and_pages_change_nothing(
    tmp_path: Path,
) -> None:
    silent = new_state(tmp_path / "silent", "auth: {enabled: false}\n")
    refused = sonia(silent, "run", "gateway")
    assert refused.returncode == 78
    assert "everybody_is_operator" in refused.stderr
    state = new_state(tmp_path / "said", "auth: {enabled: false, everybody_is_operator: true}\n")
    with running(state) as gateway:
        page = {"Content-Type": "text/plain"}
        assert exchange(gateway.port, "POST", "/tasks", OK, page).status == 415
        evil = {"Content-Type": "application/json", "Origin": "http://evil.example"}
        assert exchange(gateway.port, "POST", "/tasks", OK, evil).status == 403
        rebound = {"Content-Type": "application/json", "Host": "evil.example"}
        assert exchange(gateway.port, "POST", "/tasks", OK, rebound).status == 421
        assert gateway.call("POST", "/tasks", None, json.loads(OK)).status == 201
    assert rows(state, "SELECT count(*) FROM tasks") == [(1,)]
