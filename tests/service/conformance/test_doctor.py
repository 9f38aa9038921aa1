"""What a start asks of keys, files and settings, at its limits and just beyond: `sonia doctor` asks the same."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion

from service.errors import StartRefused
from service.keys import load_keys
from service.state import StateDir
from tests.service.conformance.conversation import Conversation
from tests.service.running import State, alter, new_state, restamp

Edit = Callable[[StateDir], object]
NO_SECRET = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HASH = "00112233445566778899aabbccddeeff" * 2


def keys(**fields: object) -> Edit:
    """Other fields in the key file; with another audit key, the log is what that key has written."""

    def edit(state: StateDir) -> None:
        found: dict[str, Any] = json.loads(state.keys.read_text())
        state.keys.write_text(json.dumps({**found, **fields}))
        if "audit_key" in fields:
            state.checkpoints.write_text("")
            with contextlib.suppress(StartRefused):
                restamp(State(state, "", ""), load_keys(state.keys).audit_key_bytes())

    return edit


def link(**fields: object) -> Edit:
    """Change the keys between the gateway and memory."""

    def edit(state: StateDir) -> None:
        found = msgspec.json.decode(state.link("memory").read_bytes())
        state.link("memory").write_bytes(msgspec.json.encode({**found, **fields}))

    return edit


def token(**fields: object) -> Edit:
    """One more token in the key file."""
    more = {
        "id": "tok_edge",
        "role": "observer",
        "name": "edge",
        "sha256": HASH,
        "created_at_ms": 1,
        "expires_at_ms": None,
    }

    def edit(state: StateDir) -> None:
        found: dict[str, Any] = json.loads(state.keys.read_text())
        keys(tokens=[*found["tokens"], {**more, **fields}])(state)

    return edit


def settings(text: str) -> Edit:
    return lambda state: state.settings.write_text(text + "\n")


def sql(statement: str) -> Edit:
    return lambda state: alter(State(state, "", ""), statement)


def linked(state: StateDir) -> None:
    state.keys.rename(state.root / "real.json")
    state.keys.symlink_to("real.json")


def damaged(state: StateDir) -> None:
    with state.database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


CASES: dict[str, Edit] = {
    "sound": lambda _: None,
    "no keys": lambda state: state.keys.unlink(),
    "empty keys": lambda state: state.keys.write_text(""),
    "blank keys": lambda state: state.keys.write_text(" \n"),
    "no JSON": lambda state: state.keys.write_text("operator: yes"),
    "an empty object": lambda state: state.keys.write_text("{}"),
    "no text": lambda state: state.keys.write_bytes(b"\xff\xff"),
    "a name given twice": lambda state: state.keys.write_text(state.keys.read_text().replace('"format"', '"format": 1, "format"')),
    "a format of tomorrow": keys(format=3),
    "a field too many": keys(more=1),
    "a field too many of a token": token(more=1),
    "audit key of eight different bytes": keys(audit_key="0001020304050607" * 4),
    "audit key of seven different bytes": keys(audit_key="0001020304050606" * 4),
    "audit key one byte short": keys(audit_key=("0001020304050607" * 4)[:-2]),
    "audit key that is no hex": keys(audit_key="x001020304050607" * 4),
    "a key file of the release before": keys(format=1, service_token="svc." + "abcdefgh" * 4),
    "a link's keys of eight different bytes": link(requests=b"01234567" * 4),
    "a link's keys of seven different bytes": link(requests=b"01234566" * 4),
    "a link's keys one byte short": link(answers=(b"01234567" * 4)[:-1]),
    "a link with one key for both directions": link(requests=b"01234567" * 4, answers=b"01234567" * 4),
    "a link's keys of another process": link(server="model"),
    "a link's keys of the release before": link(format=1),
    "a link without a key": link(answers=None),
    "no keys of a link": lambda state: state.link("memory").unlink(),
    "all may read a link's keys": lambda state: state.link("memory").chmod(0o604),
    "hash one byte long": token(sha256=HASH + "00"),
    "hash that is no hex": token(sha256="x" + HASH[1:]),
    "hash of an empty secret": token(sha256=NO_SECRET),
    "hash of an empty secret in capitals": token(sha256=NO_SECRET.upper()),
    "an id that is empty": token(id=""),
    "an id with a dot": token(id="tok.edge"),
    "no tokens": keys(tokens=[]),
    "its owner alone may do all": lambda state: state.keys.chmod(0o700),
    "its owner alone may read": lambda state: state.keys.chmod(0o400),
    "all may run it": lambda state: state.keys.chmod(0o601),
    "its group may run it": lambda state: state.keys.chmod(0o610),
    "a link in its place": linked,
    "all operators revoked": sql("UPDATE tokens SET revoked_at_ms = 1 WHERE role = 'operator'"),
    "other migrations": sql("UPDATE migrations SET sha256 = 'another'"),
    "a newer schema": sql("PRAGMA user_version = 999; UPDATE migrations SET version = version"),
    "a secret of no token": sql("PRAGMA foreign_keys = 0; INSERT INTO token_secrets VALUES (zeroblob(32), 'tok_none', 1, NULL, 'req')"),
    "a damaged database": damaged,
    "an empty database": lambda state: state.database.write_bytes(b""),
    "no database": lambda state: state.database.unlink(),
    "a short mark": lambda state: state.clock.write_text("00000001700000000000"),
    "a mark that is no number": lambda state: state.clock.write_text("0000000170000000000x\n"),
    "no checkpoint": lambda state: state.checkpoints.write_text("yes\n"),
    "a checkpoint with a field too many": lambda state: state.checkpoints.write_text('{"seq": 1, "hmac": "00", "mac": "00", "more": 1}\n'),
    "a switch that is no boolean": settings("auth: {enabled: off}"),
    "a section given twice": settings("auth: {enabled: true}\nauth: {enabled: false}"),
    "an unknown section": settings("auht: {enabled: true}"),
    "a window below nothing": settings("auth: {rotation_window_s: -0.001}"),
    "a stream that is never looked at": settings("auth: {stream_recheck_s: 0}"),
    "a breaker of no failures": settings("breaker: {failures: 0}"),
    "a commit of 65": settings("storage: {batch_max: 65}"),
    "a commit of none": settings("storage: {batch_max: 0}"),
    "too short a patience": settings("storage: {busy_timeout_s: 4.99}"),
    "a commit of one": settings("storage: {batch_max: 1}"),
    "a workspace that holds the keys": settings("tools: {workspace: .}"),
    "no word": settings("# nothing"),
}  # fmt: skip
EDGE = """
auth: {enabled: TRUE, rotation_window_s: 0, stream_recheck_s: 0.001, denied_audit_per_s: 017}
breaker: {failures: +1, max_open_for_s: 2e1, probe_every_s: 5.E-3}
turn: {memory_max_tokens: 1, memory_timeout_s: .5}
storage: {busy_timeout_s: 5, batch_max: 64, queue_max: 1}
tools: {workspace: off}
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> StateDir:
    return new_state(tmp_path_factory.mktemp("sound") / "state").directory


def copied(sound: StateDir, place: Path) -> Conversation:
    shutil.copytree(sound.root, place)
    return Conversation(State(StateDir(place), "", ""), {})


def test_limits(sound: StateDir, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    told = []
    for number, (name, edit) in enumerate(CASES.items()):
        talk = copied(sound, tmp_path / str(number))
        edit(talk.state.directory)
        talk.sonia(name, "doctor")
        told += talk.told
    assert "\n".join(told) == snapshot


def test_settings_in_force(
    sound: StateDir, tmp_path: Path, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = copied(sound, tmp_path / "state")
    talk.sonia("empty settings", "doctor", "--json")
    talk.state.directory.settings.unlink()
    talk.sonia("no settings", "doctor", "--json")
    talk.state.directory.settings.write_text(EDGE)
    monkeypatch.setenv("SONIA_GATEWAY_HOST", "127.0.0.2")
    monkeypatch.setenv("SONIA_GATEWAY_PORT", "65535")
    monkeypatch.setenv("SONIA_MODEL_PORT", "1")
    talk.sonia("at the limits", "doctor", "--json")
    for port in ("0", "65536", "http", "7²"):
        monkeypatch.setenv("SONIA_GATEWAY_PORT", port)
        talk.sonia(f"port {port}", "run", "gateway")
    monkeypatch.setenv("SONIA_GATEWAY_PORT", "7000")
    monkeypatch.setenv("SONIA_GATEWAY_HOST", "0.0.0.0")
    talk.state.directory.settings.write_text(
        "auth: {enabled: false, everybody_is_operator: true}\n"
    )
    talk.sonia("nobody is asked who he is", "run", "gateway")
    assert talk.said == snapshot


def test_a_clock_that_ran_ahead(
    sound: StateDir, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    talk = copied(sound, tmp_path / "state")
    talk.state.directory.clock.write_text("00000004102444800000\n")
    talk.sonia("far ahead", "doctor")
    talk.told[-1] = talk.told[-1].split(" time stands ")[0] + " time stands …"
    talk.sonia("accepted", "doctor", "--accept-clock")
    talk.sonia("as it was accepted", "doctor")
    assert talk.said == snapshot


def test_a_crash_cut_a_checkpoint_off(sound: StateDir, tmp_path: Path) -> None:
    talk = copied(sound, tmp_path / "state")
    checkpoints = talk.state.directory.checkpoints
    whole = checkpoints.read_text()
    checkpoints.write_text(whole + '{"seq": 1')
    assert talk.sonia("cut off", "doctor") == 0
    assert talk.sonia("written after it", "token", "issue", "--role", "observer") == 0
    assert talk.sonia("whole again", "doctor") == 0
    assert checkpoints.read_text().startswith(whole)
    assert all(json.loads(line) for line in checkpoints.read_text().splitlines())
