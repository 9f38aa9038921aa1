"""Who gets into the internal processes."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.keys import NewKeys

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


@pytest.fixture(scope="module", params=sorted(INTERNAL))
def process(request: pytest.FixtureRequest, start: Callable[..., Any]) -> tuple[Any, str]:
    return start(request.param).await_ready(), request.param


def wrong_tokens(keys: NewKeys) -> dict[str, str | None]:
    token = keys.material.service_token
    return {
        "absent": None,
        "one letter": "x",
        "forged": "svc." + "x" * 43,
        "truncated": token[:-1],
        "longer": token + "x",
        "secret alone": token.removeprefix("svc."),
        "first half": token[: len(token) // 2],
        "operator": keys.operator,
        "observer": keys.observer,
    }


def test_everything_internal_is_closed_to_wrong_tokens(
    process: tuple[Any, str], keys: NewKeys
) -> None:
    running, name = process
    answers = {}
    for kind, token in wrong_tokens(keys).items():
        for method, path in [*COMMON, *INTERNAL[name]]:
            answer = running.call(method, path, {"any": "body"}, bearer=token)
            answers[kind, method, path] = answer.status_code
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            challenge = answer.headers["www-authenticate"]
            assert challenge == ("Bearer" if token is None else 'Bearer error="invalid_token"')
    assert {key: status for key, status in answers.items() if status != 401} == {}


def test_other_ways_to_present_the_token_do_not_work(
    process: tuple[Any, str], keys: NewKeys
) -> None:
    running, _ = process
    token = keys.material.service_token
    url = running.url + "/internal/ready"
    assert httpx.get(url, params={"access_token": token}).status_code == 401
    assert httpx.get(url, headers={"Authorization": f"Basic {token}"}).status_code == 401
    assert httpx.get(url, headers=[("Authorization", f"Bearer {token}")] * 2).status_code == 401
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_health_and_readiness_are_open(process: tuple[Any, str]) -> None:
    running, _ = process
    for path in ("/healthz", "/readyz"):
        assert running.call("GET", path, bearer=None).status_code == 200
        assert running.call("HEAD", path, bearer=None).status_code == 200


def test_the_live_routes_are_the_ones_tested_here(process: tuple[Any, str]) -> None:
    running, name = process
    routes = running.call("GET", "/internal/routes").json()["items"]
    working = {(each["method"], each["path"].replace("{name}", "file.read")) for each in routes}
    assert {each for each in working if each[0] == "POST"} == set(INTERNAL[name])
    assert {each["role"] for each in routes if each["path"].startswith("/internal")} == {"service"}
    assert {each["path"] for each in routes if each["role"] == "public"} == {"/healthz", "/readyz"}


def test_the_request_id_is_taken_over_from_a_service_only(process: tuple[Any, str]) -> None:
    running, _ = process
    token = running.keys.material.service_token
    ours = {"X-Request-Id": "req_0123", "Authorization": f"Bearer {token}"}
    assert (
        httpx.get(running.url + "/internal/ready", headers=ours).headers["x-request-id"]
        == "req_0123"
    )
    theirs = {"X-Request-Id": "req_0123"}
    assert (
        httpx.get(running.url + "/internal/ready", headers=theirs).headers["x-request-id"]
        != "req_0123"
    )
