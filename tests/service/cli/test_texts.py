"""What commands say to people, line by line, and what stands in force when nobody has set anything."""

import json
import re

from service.clock import MarkFile, wall_ms
from tests.service.running import State, rows, sonia

DEFAULTS = {
    "auth": {
        "enabled": True,
        "everybody_is_operator": False,
        "rotation_window_s": 30.0,
        "stream_recheck_s": 0.25,
        "denied_audit_per_s": 20.0,
    },
    "http": {
        "hosts": ["127.0.0.1", "::1", "localhost"],
        "origins": ["127.0.0.1", "::1", "localhost"],
        "cors": {"origins": [], "credentials": False},
        "tls": {"certificate": None, "key": None},
    },
    "breaker": {"failures": 3, "open_for_s": 0.5, "max_open_for_s": 2.0, "probe_every_s": 0.5},
    "turn": {"memory_timeout_s": 0.5, "model_timeout_s": 2.0, "memory_max_tokens": 512},
    "sessions": {"ttl_s": 86400.0, "max_ttl_s": 2592000.0},
    "confirmations": {"ttl_s": 300.0},
    "tasks": {"at_once": 4, "max_claims": 3, "max_waiting": 1000},
    "admission": {
        "budget": 512,
        "wait_s": 5.0,
        "stream": {"floor": 64, "at_once": 16},
        "tool": {"floor": 64, "at_once": 3},
        "model": {"floor": 64, "at_once": 16},
    },
    "supervisor": {
        "window_s": 300.0,
        "attempts": 3,
        "backoff_base_s": 2.0,
        "probe_every_s": 1.0,
        "hang_after_s": 10.0,
        "start_within_s": 60.0,
        "stop_within_s": 5.0,
    },
    "outbox": {"max_pause_s": 2.0, "timeout_s": 5.0},
    "retention": {
        "idempotency_days": 1.0,
        "outbox_days": 7.0,
        "sessions_days": 90.0,
        "dead_letters_days": 90.0,
        "tasks_days": 90.0,
        "restarts_days": 90.0,
        "audit_days": 365.0,
    },
    "audit": {"checkpoint_every": 100},
    "tools": {
        "workspace": "workspace",
        "timeout_s": 10.0,
        "confinement": "required",
        "max_processes": 128,
        "max_memory_bytes": 536_870_912,
        "max_workspace_bytes": 268_435_456,
        "max_workspace_files": 10_000,
    },
    "slo": {
        "threshold_ms": 3000.0,
        "quantile": 0.95,
        "short_window_s": 30,
        "long_window_s": 300,
        "min_count": 20,
        "long_min_count": 100,
        "min_dwell_s": 60.0,
        "sustain_s": 30.0,
        "canary_every_s": 1.0,
        "switches_off": ["memory", "model", "tasks"],
    },
    "traces": {"flush_every_s": 0.25, "segment_bytes": 8_388_608, "segments": 16},
    "storage": {"busy_timeout_s": 5.0, "batch_max": 64, "queue_max": 4096},
}
LISTENS = {
    "gateway": "127.0.0.1:7000",
    "memory": "127.0.0.1:7020",
    "model": "127.0.0.1:7010",
    "tools": "127.0.0.1:7040",
}
TOKEN = r"tok_[0-9a-f]{16,24}\.[\w-]{43}"


def said(state: State, *arguments: str) -> str:
    answer = sonia(state, *arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def test_a_token_is_shown_once_and_listed_until_it_is_over(state: State) -> None:
    issued = said(state, "token", "issue", "--role", "operator", "--name", "alice")
    head, secret = issued.splitlines()
    token_id = head.split()[0]
    assert head == f"{token_id} (operator), shown this once:"
    assert re.fullmatch(f"  {TOKEN}", secret)
    rotated = said(state, "token", "rotate", token_id, "--window", "0s").splitlines()
    assert rotated[0] == head
    assert rotated[1] != secret
    assert (
        f"{token_id}  operator  works  issued     alice"
        in said(state, "token", "list").splitlines()
    )
    assert said(state, "token", "revoke", token_id) == f"{token_id} is revoked.\n"
    audited = "SELECT action, actor_id, substr(request_id, 1, 4) FROM audit WHERE target = ?"
    assert rows(state, audited, token_id) == [
        ("token.rotate", "system:cli", "cli_"),
        ("token.revoke", "system:cli", "cli_"),
    ]
    assert (
        f"{token_id}  operator  over   issued     alice"
        in said(state, "token", "list").splitlines()
    )


def test_tokens_as_json(state: State) -> None:
    issued = json.loads(
        said(state, "token", "issue", "--role", "observer", "--ttl", "8h", "--json")
    )
    assert re.fullmatch(TOKEN, issued["token"])
    assert issued["token"].startswith(issued["id"] + ".")
    listed = {
        item["id"]: item for item in json.loads(said(state, "token", "list", "--json"))["items"]
    }
    token = listed[issued["id"]]
    assert (token["role"], token["name"], token["source"]) == ("observer", "", "issued")
    assert token["expires_at_ms"] - token["created_at_ms"] == 8 * 3600 * 1000
    assert sorted(item["source"] for item in listed.values()) == [
        "bootstrap",
        "bootstrap",
        "issued",
    ]
    revoked = json.loads(said(state, "token", "revoke", issued["id"], "--json"))
    assert revoked == {"id": issued["id"], "revoked": True}


def test_a_sound_state_is_told_so_with_everything_that_is_in_force(state: State) -> None:
    sound, kept = said(state, "doctor").splitlines()
    assert sound == "settings, keys, database and audit log are sound"
    assert kept.startswith(
        "rows: audit 2, audit_archive 0, denied 0, idempotency 0, outbox 0, dead_letters 0, "
    )
    report = json.loads(said(state, "doctor", "--json"))
    assert report["settings"] == DEFAULTS
    assert report["listens"] == LISTENS
    assert report["settled"] == {}
    assert (report["rows"]["audit"], report["rows"]["denied"]) == (2, 0)
    assert 0 <= report["ahead_ms"] < 1000


def test_time_that_stands_ahead_is_told(state: State) -> None:
    MarkFile(state.directory.clock).create(wall_ms() + 100_000)
    first, *_, second = said(state, "doctor").splitlines()
    assert first == "settings, keys, database and audit log are sound"
    assert re.fullmatch(r"time stands (9[0-9]|100) s ahead of the machine's clock; if .*", second)
    accepted = said(state, "doctor", "--accept-clock").splitlines()
    assert accepted[0] == "the machine's clock is accepted; ended for good by the old time:"
    assert first in accepted
    assert {line.rpartition(": ")[2] for line in accepted[1 : accepted.index(first)]} == {"0"}
    last = "SELECT actor_id, action, effect_id, request_id FROM audit ORDER BY seq DESC LIMIT 1"
    [(actor, action, effect_id, request_id)] = rows(state, last)
    assert (actor, action, effect_id) == ("system:doctor", "clock.accept", "mark")
    assert request_id.startswith("cli_")
