"""Who gets through the gate of a running gateway, route by route."""

import json
from pathlib import Path

import pytest
from litestar import Litestar, WebSocket, get, post, route, websocket
from litestar.datastructures import State as AppState
from litestar.handlers import asgi

from service.auth.roles import Role
from service.errors import StartRefused
from service.gateway.app import HANDLERS, assemble
from service.http.guards import PUBLIC, require_role
from service.http.routing import walk
from tests.service.running import Answer, Gateway, State, alter, new_state, rows, running, until

SAFE = {"GET", "HEAD", "OPTIONS"}
PUBLIC_PATHS = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/version",
    "/v1/storage",
    "/v1/slo/status",
    "/v1/queues",
    "/v1/supervisor/services",
}
PLACES = {
    "{task_id}": "task_x",
    "{session_id}": "ses_x",
    "{confirmation_id}": "conf_x",
    "{token_id}": "tok_x",
    "{memory_id}": "mem_x",
    "{letter_id}": "dead_x",
    "{name}": "nothing",
    "{service}": "nobody",
}


def filled(path: str) -> str:
    for place, value in PLACES.items():
        path = path.replace(place, value)
    assert "{" not in path
    return path


def live_routes(gateway: Gateway) -> list[tuple[str, str, str]]:
    answer = gateway.call("GET", "/v1/routes", gateway.state.observer)
    assert answer.status == 200
    return [
        (item["method"], item["path"], item["role"])
        for item in answer.json["items"]
        if item["kind"] == "http"
    ]


def test_no_unsafe_method_is_open_and_public_paths_are_the_diagnostics() -> None:
    for item in walk(assemble(HANDLERS)):
        if item.method == "OPTIONS":
            assert item.role == "public"
        elif item.kind == "http" and item.method in SAFE:
            assert item.role == ("public" if item.path in PUBLIC_PATHS else "observer"), item
        else:
            assert item.role == "operator", item


def test_every_route_refuses_whoever_is_not_enough(gateway: Gateway) -> None:
    routes = live_routes(gateway)
    assert len(routes) > 60
    signer = gateway.state.signer("memory")
    for method, path, role in routes:
        anonymous = gateway.call(method, filled(path))
        forged = gateway.call(method, filled(path), "tok_forged.secret")
        signed = signer.sign(method, filled(path), b"")
        internal = gateway.call(method, filled(path), headers=signed)
        observer = gateway.call(method, filled(path), gateway.state.observer)
        if role == "public":
            assert anonymous.status in {200, 204}, (method, path)
            assert forged.status in {200, 204}, (method, path)
            continue
        assert anonymous.status == 401, (method, path)
        assert forged.status == 401, (method, path)
        assert internal.status == 401, (method, path)
        if role == "operator":
            assert observer.status == 403, (method, path)
        else:
            assert observer.status in {200, 400, 404, 503}, (method, path)


def test_head_works_wherever_get_does(gateway: Gateway) -> None:
    routes = live_routes(gateway)
    assert {path for method, path, _ in routes if method == "GET"} == {
        path for method, path, _ in routes if method == "HEAD"
    }
    answer = gateway.call("HEAD", "/v1/version")
    assert answer.status == 200
    assert answer.body == b""


def test_openapi_describes_every_live_route(gateway: Gateway) -> None:
    described = gateway.call("GET", "/v1/openapi.json", gateway.state.observer).json["paths"]
    live = {(method, path) for method, path, _ in live_routes(gateway) if method != "OPTIONS"}
    assert live == {
        (method.upper(), path) for path, methods in described.items() for method in methods
    }


def comparable(answer: Answer) -> tuple[object, ...]:
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in {"date", "x-request-id"}
    }
    body = {**answer.json, "request_id": ""}
    return answer.status, headers, body


def test_wrong_tokens_cannot_be_told_apart(gateway: Gateway) -> None:
    operator = gateway.state.operator
    token_id, secret = operator.split(".")
    other_id = gateway.state.observer.split(".")[0]
    revoked = gateway.operator("POST", "/v1/tokens", {"role": "operator"}).json
    assert gateway.operator("DELETE", f"/v1/tokens/{revoked['id']}").status == 204
    wrong = [
        "x",
        ".",
        "tok_unknown.secret",
        f"{token_id}.{secret[:-1]}",
        f"{token_id}.{secret}x",
        f"{token_id}.",
        f"{other_id}.{secret}",
        revoked["token"],
    ]
    before = rows(gateway.state, "SELECT count(*) FROM tasks")
    answers = [gateway.call("POST", "/tasks", token, {"kind": "x"}) for token in wrong]
    answers.append(
        gateway.call("POST", "/tasks", None, {"kind": "x"}, {"Authorization": "Basic eDp5"})
    )
    assert {json.dumps(comparable(answer)) for answer in answers} == {
        json.dumps(comparable(answers[0]))
    }
    assert answers[0].status == 401
    assert answers[0].headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert rows(gateway.state, "SELECT count(*) FROM tasks") == before


def test_missing_credentials_get_a_bare_challenge(gateway: Gateway) -> None:
    answer = gateway.call("POST", "/tasks", None, {"kind": "x"})
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_a_token_in_the_query_is_no_token(gateway: Gateway) -> None:
    answer = gateway.call("GET", f"/tasks?access_token={gateway.state.operator}")
    assert answer.status == 401


def test_a_request_id_from_the_caller_is_not_taken_over(gateway: Gateway) -> None:
    answer = gateway.call("GET", "/healthz", headers={"X-Request-Id": "req_mine"})
    assert answer.headers["x-request-id"] != "req_mine"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PATCH", "/tasks", 405)]
)
def test_even_what_does_not_exist_is_a_problem_document(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = gateway.call(method, path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_refusals_are_audited_without_a_name_for_the_unverified(state: State) -> None:
    with running(state) as gateway:
        anonymous = gateway.call("POST", "/tasks", "tok_x.y").headers["x-request-id"]
        observer = gateway.call("POST", "/tasks", state.observer).headers["x-request-id"]
        assert gateway.stop() == 0
    found = rows(
        state,
        "SELECT request_id, actor_id, actor_role, outcome, effect_table FROM audit"
        " WHERE request_id IN (?, ?) ORDER BY seq",
        anonymous,
        observer,
    )
    assert found == [
        (anonymous, "anonymous", "anonymous", "denied", None),
        (observer, state.observer.split(".")[0], "observer", "denied", None),
    ]


def test_an_unknown_role_gets_nothing(state: State) -> None:
    token_id = state.observer.split(".")[0]
    with running(state) as gateway:
        # Before a start, it would be one that the log does not tell of.
        alter(state, "UPDATE tokens SET role = 'root' WHERE id = ?", token_id)
        until(lambda: gateway.call("GET", "/tasks", state.observer).status == 403)
        assert gateway.call("POST", "/tasks", state.observer, {"kind": "x"}).status == 403
        assert gateway.call("GET", "/healthz", state.observer).status == 200


def test_a_flood_of_refusals_is_bounded_in_the_audit_log(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state", "auth: {denied_audit_per_s: 1}\n")
    with running(state) as gateway:
        for _ in range(50):
            assert gateway.call("POST", "/tasks").status == 401
        assert gateway.stop() == 0
    written = rows(state, "SELECT count(*) FROM audit WHERE outcome = 'denied'")[0][0]
    assert 1 <= written < 25
    counted = rows(
        state,
        "SELECT sum(detail->>'$.suppressed_before') FROM audit"
        " WHERE action IN ('auth.denied', 'auth.denied.suppressed')",
    )[0][0]
    assert written + counted == 50


def test_a_flood_of_one_kind_hides_no_refusal_of_another(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state", "auth: {denied_audit_per_s: 0.001}\n")
    with running(state) as gateway:
        for _ in range(5):
            assert gateway.call("POST", "/tasks").status == 401
        assert gateway.call("POST", "/tasks", state.observer).status == 403
        assert gateway.call("POST", "/tasks", "nobody.nothing").status == 401
        assert gateway.stop() == 0
    reasons = rows(
        state, "SELECT detail->>'$.reason' FROM audit WHERE outcome = 'denied' ORDER BY seq"
    )
    assert [reason for (reason,) in reasons] == ["no_credentials", "insufficient_scope", "unknown"]
    end = "SELECT detail FROM audit WHERE action = 'auth.denied.suppressed'"
    assert rows(state, end) == [('{"reason":"no_credentials","suppressed_before":4}',)]


@get("/undeclared", sync_to_thread=False)
def undeclared() -> None:
    """A handler that forgot its role."""


@post("/doubled", guards=[require_role(Role.OBSERVER), require_role(Role.OPERATOR)])
async def doubled() -> None:
    """A handler that asks for two roles."""


@post("/contradicted", guards=[require_role(Role.OBSERVER)], opt=PUBLIC)
async def contradicted() -> None:
    """A handler that asks for a role and is for everybody."""


async def anything(_: object, __: object) -> None:
    """A guard that says nothing of roles."""


@post("/otherwise", guards=[anything])
async def otherwise() -> None:
    """A handler with a guard that is none of roles."""


@websocket("/socket")
async def socket(socket: WebSocket[object, object, AppState]) -> None:
    """A WebSocket that forgot its role."""


@asgi("/mounted", is_mount=True, copy_scope=True)
async def mounted(scope: object, receive: object, send: object) -> None:
    """A mount that forgot its role."""


@pytest.mark.parametrize(
    ("handler", "named"),
    [
        (undeclared, "GET /undeclared"),
        (doubled, "POST /doubled"),
        (contradicted, "POST /contradicted"),
        (otherwise, "POST /otherwise"),
        (socket, "WEBSOCKET /socket"),
        (mounted, r"\* /mounted"),
    ],
)
def test_a_route_without_a_role_keeps_the_gateway_from_starting(
    handler: object, named: str
) -> None:
    with pytest.raises(StartRefused, match=named):
        assemble([*HANDLERS, handler])  # type: ignore[list-item]


def test_options_of_ones_own_ask_for_what_they_declare() -> None:
    @route("/own", http_method=["GET", "OPTIONS"], guards=[require_role(Role.OPERATOR)])
    async def own() -> None:
        """One handler for both methods."""

    roles = {item.method: item.role for item in walk(assemble([own]))}
    assert roles == {"GET": "operator", "OPTIONS": "operator"}


def test_the_walk_sees_mounts_and_sockets() -> None:
    @asgi("/mounted", is_mount=True, copy_scope=True, guards=[require_role(Role.OBSERVER)])
    async def declared(scope: object, receive: object, send: object) -> None:
        """A mount with a role."""

    app: Litestar = assemble([*HANDLERS, declared])
    kinds = {(item.kind, item.path, item.role) for item in walk(app)}
    assert ("mount", "/mounted", "observer") in kinds
    assert ("websocket", "/v1/stream", "operator") in kinds
