"""Which requests belong here: by the name they give this host, and by whose page sends them."""

import asyncio
from typing import Any

import msgspec
import pytest

from service.http.browsers import Surroundings, Threshold
from service.settings import HttpSettings

USUAL = HttpSettings()
DEFAULT = Surroundings(USUAL.hosts, USUAL.origins, "127.0.0.1")
CONFIGURED = Surroundings(
    ("sonia.example", "127.0.0.1"), ("https://ops.example", "pages.example"), "10.0.0.5"
)


def found(
    surroundings: Surroundings,
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    version: str = "1.1",
) -> int:
    """The status of the refusal, 0 without one."""
    scope: Any = {
        "type": "http",
        "method": method,
        "http_version": version,
        "headers": headers,
    }
    foreign = surroundings.foreign(scope)
    return 0 if foreign is None else foreign.status


@pytest.mark.parametrize(
    "host",
    [b"127.0.0.1", b"127.0.0.1:7000", b"localhost:65535", b"LOCALHOST", b"[::1]", b"[::1]:7000"],
)
def test_loopback_has_a_name_and_any_port(host: bytes) -> None:
    assert found(DEFAULT, (b"host", host)) == 0
    assert found(DEFAULT, (b"host", host)) == 0


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:7000",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"localhost:7000@evil.example",
        b"localhost:x",
        b"evil.example:127.0.0.1",
        b"[::1",
        b"[::2]",
        b"",
        b":7000",
        b"\xff",
    ],
)
def test_any_other_host_is_misdirected(host: bytes) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert found(DEFAULT, (b"host", host), method=method) == 421


def test_a_request_has_one_host() -> None:
    own = (b"host", b"localhost")
    assert found(DEFAULT, own, own) == 400
    assert found(DEFAULT) == 400
    assert found(DEFAULT, version="1.0") == 0


def test_hosts_are_configured_beside_the_address_that_is_listened_on() -> None:
    for host in (b"sonia.example:443", b"127.0.0.1", b"10.0.0.5:7000"):
        assert found(CONFIGURED, (b"host", host)) == 0
    assert found(CONFIGURED, (b"host", b"localhost")) == 421
    everywhere = Surroundings(USUAL.hosts, USUAL.origins, "0.0.0.0")
    assert found(everywhere, (b"host", b"0.0.0.0")) == 421


FOREIGN = [
    b"null",
    b"http://evil.example",
    b"http://localhost.evil.example",
    b"http://localhost@evil.example",
    b"http://localhost/",
    b"http://localhost:x",
    b"file://localhost",
    b"localhost",
    b"",
    b"http://[::1",
    b"\xff",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_others_change_nothing_and_may_look(origin: bytes) -> None:
    headers = ((b"host", b"localhost"), (b"origin", origin))
    for method in ("POST", "PUT", "DELETE", "PATCH", "BREW"):
        assert found(DEFAULT, *headers, method=method) == 403
    for method in ("GET", "HEAD", "OPTIONS"):
        assert found(DEFAULT, *headers, method=method) == 0


@pytest.mark.parametrize(
    ("surroundings", "origin", "status"),
    [
        (DEFAULT, b"http://localhost:3000", 0),
        (DEFAULT, b"https://127.0.0.1", 0),
        (DEFAULT, b"http://[::1]:7000", 0),
        (CONFIGURED, b"https://ops.example", 0),
        (CONFIGURED, b"https://OPS.example", 0),
        (CONFIGURED, b"http://ops.example", 403),
        (CONFIGURED, b"https://ops.example:8443", 403),
        (CONFIGURED, b"http://pages.example:8443", 0),
        (CONFIGURED, b"http://localhost", 403),
    ],
)
def test_origins_are_configured(surroundings: Surroundings, origin: bytes, status: int) -> None:
    host = (b"host", b"127.0.0.1")
    assert found(surroundings, host, (b"origin", origin)) == status
    assert found(surroundings, host, (b"origin", origin), (b"origin", b"null")) == 403


def test_a_socket_is_an_unsafe_request() -> None:
    headers = [(b"host", b"localhost"), (b"origin", b"http://evil.example")]
    scope: Any = {"type": "websocket", "http_version": "1.1", "headers": headers}
    foreign = DEFAULT.foreign(scope)
    assert foreign is not None
    assert foreign.status == 403


def test_what_is_foreign_is_answered_and_taken_down_before_anybody_is_asked() -> None:
    recorded: list[Any] = []
    sent: list[Any] = []

    class Denied:
        def record(self, cause: Any, reason: str) -> None:
            recorded.append((cause.actor_id, cause.target, cause.outcome, reason))

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody is asked")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/tasks",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"origin", b"http://evil.example")],
        "state": {"request_id": "req_1"},
    }
    asyncio.run(Threshold(inner, DEFAULT, Denied())(scope, send, send))  # type: ignore[arg-type]
    assert recorded == [("anonymous", "/tasks", "denied", "foreign_origin")]
    assert msgspec.json.decode(sent[1]["body"])["code"] == "foreign_origin"
    assert {name for name, _ in sent[0]["headers"]} == {b"content-type", b"content-length"}
