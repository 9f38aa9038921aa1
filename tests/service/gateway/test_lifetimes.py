"""Tokens over time: rotation windows, revocation, clocks that are turned back, kills."""

import importlib.util
import signal
import threading
from pathlib import Path

import pytest

from service.clock import wall_ms
from tests.service.running import Gateway, State, new_state, rows, running, sonia, until


def works(gateway: Gateway, token: str) -> bool:
    status = gateway.call("GET", "/v1/sessions", token).status
    assert status in {200, 401}
    return status == 200


def issue(gateway: Gateway, **request: object) -> dict[str, str]:
    answer = gateway.operator("POST", "/v1/tokens", {"role": "operator", **request})
    assert answer.status == 201, answer.body
    assert answer.headers["cache-control"] == "no-store"
    issued: dict[str, str] = answer.json
    return issued


def test_both_secrets_work_inside_the_window_and_one_after_it(gateway: Gateway) -> None:
    old = issue(gateway)
    new = gateway.operator("POST", f"/v1/tokens/{old['id']}/rotate", {"window_s": 0.6}).json
    assert works(gateway, new["token"])
    assert works(gateway, old["token"]) or wall_ms() >= new["previous_expires_at_ms"]
    until(lambda: not works(gateway, old["token"]))
    assert wall_ms() >= new["previous_expires_at_ms"]
    assert works(gateway, new["token"])


def test_revoking_skips_the_window(gateway: Gateway) -> None:
    old = issue(gateway)
    new = gateway.operator("POST", f"/v1/tokens/{old['id']}/rotate", {"window_s": 600}).json
    assert works(gateway, old["token"])
    assert works(gateway, new["token"])
    assert gateway.operator("DELETE", f"/v1/tokens/{old['id']}").status == 204
    assert not works(gateway, old["token"])
    assert not works(gateway, new["token"])
    assert gateway.operator("DELETE", f"/v1/tokens/{old['id']}").status == 409


def test_secrets_are_shown_once(gateway: Gateway) -> None:
    issued = issue(gateway, name="bob")
    secret = issued["token"].split(".")[1]
    listed = gateway.call("GET", "/v1/tokens", gateway.state.observer)
    assert issued["id"].encode() in listed.body
    assert secret.encode() not in listed.body
    assert secret.encode() not in gateway.state.directory.database.read_bytes()


@pytest.mark.parametrize(
    "request_body",
    [{"role": "root"}, {"role": "service"}, {"role": "operator", "ttl_s": 0}, {}, [], "x"],
)
def test_what_cannot_be_issued_is_refused(gateway: Gateway, request_body: object) -> None:
    assert gateway.operator("POST", "/v1/tokens", request_body).status == 400


def test_commands_beside_a_running_gateway_take_effect_at_once(gateway: Gateway) -> None:
    issued = sonia(gateway.state, "token", "issue", "--role", "operator", "--json")
    assert issued.returncode == 0, issued.stderr
    import json

    token = json.loads(issued.stdout)
    assert works(gateway, token["token"])
    rotated = sonia(gateway.state, "token", "rotate", token["id"], "--window", "0s", "--json")
    assert not works(gateway, token["token"])
    new = json.loads(rotated.stdout)["token"]
    assert works(gateway, new)
    assert sonia(gateway.state, "token", "revoke", token["id"]).returncode == 0
    assert not works(gateway, new)
    assert sonia(gateway.state, "audit", "verify").returncode == 0


def test_a_token_changed_behind_its_back_is_noticed_soon(state: State) -> None:
    with running(state) as gateway:
        issued = issue(gateway)
        assert works(gateway, issued["token"])
        rows(state, "UPDATE tokens SET revoked_at_ms = 1 WHERE id = ?", issued["id"])
        until(lambda: not works(gateway, issued["token"]))
        assert works(gateway, state.operator)


def test_a_restart_keeps_revocations_and_windows(state: State) -> None:
    with running(state) as gateway:
        revoked, rotated = issue(gateway), issue(gateway)
        gateway.operator("DELETE", f"/v1/tokens/{revoked['id']}")
        new = gateway.operator("POST", f"/v1/tokens/{rotated['id']}/rotate", {"window_s": 0}).json
        gateway.kill()
    with running(state) as gateway:
        assert not works(gateway, revoked["token"])
        assert not works(gateway, rotated["token"])
        assert works(gateway, new["token"])


def test_a_kill_while_rotating_leaves_old_or_both(state: State) -> None:
    """Rotations without end, killed in the middle: some secret of the token always works."""
    known: list[str] = []

    def rotate(gateway: Gateway, token_id: str) -> None:
        try:
            while True:
                answer = gateway.operator(
                    "POST", f"/v1/tokens/{token_id}/rotate", {"window_s": 3600}
                )
                known.append(answer.json["token"])
        except OSError:
            return

    with running(state) as gateway:
        issued = issue(gateway)
        known.append(issued["token"])
        rotating = threading.Thread(target=rotate, args=(gateway, issued["id"]))
        rotating.start()
        until(lambda: len(known) > 20)
        gateway.kill()
        rotating.join()
    with running(state) as gateway:
        assert any(works(gateway, token) for token in known[-2:])
    live = rows(
        state,
        "SELECT count(*) FROM token_secrets WHERE token_id = ? AND"
        " (expires_at_ms IS NULL OR expires_at_ms > ?)",
        issued["id"],
        wall_ms(),
    )
    assert live[0][0] <= 2
    assert sonia(state, "audit", "verify").returncode == 0


def faketime_library() -> str:
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        pytest.skip("libfaketime is not installed")
    vendored = Path(found.origin).parent / "vendor" / "libfaketime" / "src"
    return str(next(vendored.glob("libfaketime.so*")))


@pytest.fixture
def an_hour_ago() -> dict[str, str]:
    return {
        "LD_PRELOAD": faketime_library(),
        "FAKETIME": "-1h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def test_a_clock_turned_back_revives_nothing(state: State, an_hour_ago: dict[str, str]) -> None:
    with running(state) as gateway:
        short = issue(gateway, ttl_s=0.3)
        rotated = issue(gateway)
        gateway.operator("POST", f"/v1/tokens/{rotated['id']}/rotate", {"window_s": 0.3})
        until(lambda: not works(gateway, short["token"]) and not works(gateway, rotated["token"]))
        gateway.kill()
    with running(state, an_hour_ago) as gateway:
        assert not works(gateway, short["token"])
        assert not works(gateway, rotated["token"])
        created = gateway.operator("POST", "/tasks", {"kind": "x"}).json
        assert abs(created["created_at_ms"] - wall_ms()) < 60_000


def test_accepting_a_clock_revives_nothing_either(
    state: State, an_hour_ago: dict[str, str]
) -> None:
    with running(state) as gateway:
        short = issue(gateway, ttl_s=0.3)
        lasting = issue(gateway, ttl_s=3000)
        until(lambda: not works(gateway, short["token"]))
        assert sonia(state, "doctor", "--accept-clock").returncode == 1
        assert gateway.stop() == 0
    accepted = sonia(state, "doctor", "--accept-clock", **an_hour_ago)
    assert accepted.returncode == 0, accepted.stderr
    with running(state, an_hour_ago) as gateway:
        assert not works(gateway, short["token"])
        assert works(gateway, lasting["token"])
        created = gateway.operator("POST", "/tasks", {"kind": "x"}).json
        assert wall_ms() - created["created_at_ms"] > 3_000_000
        assert gateway.stop() == 0
    assert rows(state, "SELECT count(*) FROM audit WHERE action = 'clock.accept'") == [(1,)]
    assert sonia(state, "audit", "verify").returncode == 0


def test_without_a_living_operator_nothing_starts(state: State) -> None:
    for token in (state.operator, state.observer):
        revoked = sonia(state, "token", "revoke", token.split(".")[0])
        assert revoked.returncode == 0, revoked.stderr
    refused = sonia(state, "run", "gateway")
    assert refused.returncode == 78
    assert "no operator token works" in refused.stderr
    assert sonia(state, "token", "issue", "--role", "operator").returncode == 0
    with running(state) as gateway:
        assert gateway.call("GET", "/healthz").status == 200


def test_off_is_only_for_loopback(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state", "auth: {enabled: false, everybody_is_operator: true}\n")
    refused = sonia(state, "run", "gateway", SONIA_GATEWAY_HOST="0.0.0.0")
    assert refused.returncode == 78
    assert "loopback" in refused.stderr
    with running(state) as gateway:
        assert gateway.call("POST", "/tasks", None, {"kind": "x"}).status == 201


def test_off_is_not_for_everybodys_pages(tmp_path: Path) -> None:
    state = new_state(
        tmp_path / "state",
        "auth: {enabled: false, everybody_is_operator: true}\nhttp: {cors: {origins: ['*']}}\n",
    )
    refused = sonia(state, "run", "gateway")
    assert refused.returncode == 78
    assert "everybody's pages" in refused.stderr


def test_two_gateways_on_one_state_are_refused(gateway: Gateway) -> None:
    second = sonia(gateway.state, "run", "gateway")
    assert second.returncode == 78
    assert "another gateway is running" in second.stderr
    assert gateway.process.poll() is None


def test_sigterm_ends_with_0_and_a_checkpoint(state: State) -> None:
    with running(state) as gateway:
        gateway.operator("POST", "/tasks", {"kind": "x"})
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(20) == 0
    last = rows(state, "SELECT max(seq) FROM audit")[0][0]
    assert f'"seq":{last},' in state.directory.checkpoints.read_text()
