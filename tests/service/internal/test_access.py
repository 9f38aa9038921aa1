"""Who gets into the internal processes."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.http.signatures import Signer
from service.keys import generate_link

INTERNAL = {
    "model": [("POST", "/internal/chat/completions")],
    "memory": [("POST", "/internal/memories"), ("POST", "/internal/memories/search")],
    "tools": [("POST", "/internal/tools/file.read/execute")],
}
COMMON = [
    ("GET", "/internal/ready"),
    ("GET", "/internal/routes"),
    ("DELETE", "/internal/ready"),
    ("OPTIONS", "/internal/ready"),
    ("GET", "/no/such/path"),
    ("GET", "//healthz"),
    ("GET", "/healthz/"),
]
READY = "/internal/ready"


@pytest.fixture(scope="module", params=sorted(INTERNAL))
def process(request: pytest.FixtureRequest, start: Callable[..., Any]) -> tuple[Any, str]:
    return start(request.param).await_ready(), request.param


def wrong(running: Any, name: str) -> dict[str, Callable[[str, str], dict[str, str]]]:
    """Headers for a method and a path, by what is wrong with them."""
    right: Callable[..., dict[str, str]] = running.signer.sign
    forger = Signer(generate_link("gateway", name))
    used = right("GET", READY, b"")
    assert running.call("GET", READY, headers=used).status_code == 200
    return {
        "nothing": lambda _method, _path: {},
        "a token": lambda _method, _path: {"Authorization": "Bearer tok_0.secret"},
        "another key": lambda method, path: forger.sign(method, path, b'{"any": "body"}'),
        "another body": lambda method, path: right(method, path, b'{"any": "soul"}'),
        "another path": lambda method, path: right(method, path + "x", b'{"any": "body"}'),
        "another method": lambda _method, path: right("PATCH", path, b'{"any": "body"}'),
        "a replay": lambda _method, _path: used,
    }


def test_everything_internal_is_closed_to_whoever_does_not_sign(process: tuple[Any, str]) -> None:
    running, name = process
    answers = {}
    shown = set()
    for kind, headers in wrong(running, name).items():
        for method, path in [*COMMON, *INTERNAL[name]]:
            answer = running.call(method, path, {"any": "body"}, headers(method, path))
            answers[kind, method, path] = answer.status_code
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            shown.add(answer.headers["www-authenticate"] + answer.json()["detail"])
            assert "signature" not in answer.headers
    assert {key: status for key, status in answers.items() if status != 401} == {}
    assert len(shown) == 1


def test_one_spelling_of_each_header_once(process: tuple[Any, str]) -> None:
    running, _ = process
    url = running.url + READY
    for name in ("Content-Digest", "Signature-Input", "Signature"):
        headers = list(running.signer.sign("GET", READY, b"").items())
        twice = [*headers, *[each for each in headers if each[0] == name]]
        assert httpx.get(url, headers=twice).status_code == 401
        assert httpx.get(url, headers=[e for e in headers if e[0] != name]).status_code == 401
        spelt = [(key, value + ("," if key == name else "")) for key, value in headers]
        assert httpx.get(url, headers=spelt).status_code == 401
        assert httpx.get(url, headers=headers).status_code == 200


def test_an_answer_is_signed_whatever_it_is(process: tuple[Any, str]) -> None:
    running, name = process
    for method, path, body in [
        ("GET", READY, b""),
        ("HEAD", READY, b""),
        ("GET", READY + "?a=b&c", b""),
        ("OPTIONS", READY, b""),
        ("GET", "/no/such/path", b""),
        ("POST", INTERNAL[name][0][1], b"{"),
    ]:
        signed = running.signer.sign(method, path, body)
        sent = {"Content-Type": "application/json", **signed}
        answer = running.client.request(method, path, content=body, headers=sent)
        headers = dict(answer.headers)
        assert answer.status_code != 401
        assert running.signer.holds(signed, answer.status_code, headers, answer.content)
        assert not running.signer.holds(signed, 202, headers, answer.content)
        assert not running.signer.holds(signed, answer.status_code, headers, b"x")
        other = running.signer.sign(method, path, body)
        assert not running.signer.holds(other, answer.status_code, headers, answer.content)


def test_health_and_readiness_are_open(process: tuple[Any, str]) -> None:
    running, _ = process
    for path in ("/healthz", "/readyz"):
        assert running.call("GET", path, headers={}).status_code == 200
        assert running.call("HEAD", path, headers={}).status_code == 200


def test_the_live_routes_are_the_ones_tested_here(process: tuple[Any, str]) -> None:
    running, name = process
    routes = running.call("GET", "/internal/routes").json()["items"]
    working = {(each["method"], each["path"].replace("{name}", "file.read")) for each in routes}
    assert {each for each in working if each[0] == "POST"} == set(INTERNAL[name])
    assert {each["role"] for each in routes if each["path"].startswith("/internal")} == {"service"}
    assert {each["path"] for each in routes if each["role"] == "public"} == {"/healthz", "/readyz"}


def test_the_request_id_is_taken_over_from_a_service_only(process: tuple[Any, str]) -> None:
    running, _ = process
    theirs = {"X-Request-Id": "req_0123"}
    ours = {**theirs, **running.signer.sign("GET", READY, b"")}
    assert running.call("GET", READY, headers=ours).headers["x-request-id"] == "req_0123"
    assert running.call("GET", READY, headers=theirs).headers["x-request-id"] != "req_0123"
