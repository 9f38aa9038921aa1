"""Key material that is not sound keeps every process from starting; the port is never opened."""

import base64
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.errors import StartRefused
from service.keys import generate_keys, generate_link, load_keys, load_link, write_keys
from service.state import StateDir
from tests.service.running import State, accepts, environment, free_port, run_gateway, sonia

Spoil = Callable[[Path], None]


def edit(change: Callable[[dict[str, Any]], None]) -> Spoil:
    def spoil(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def set_all_tokens(**values: Any) -> Spoil:
    return edit(lambda document: [token.update(values) for token in document["tokens"]])


def replace_with_link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere.json")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def replace_with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def replace_with_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def duplicate_name(path: Path) -> None:
    path.write_text(path.read_text().replace('"format": 2', '"format": 2, "format": 2'))


SPOILED: dict[str, Spoil] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "blank": lambda path: path.write_text(" \n"),
    "unparsable": lambda path: path.write_text("{"),
    "not an object": lambda path: path.write_text("[]"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a name twice": duplicate_name,
    "unknown field": edit(lambda document: document.update(extra=1)),
    "another format": edit(lambda document: document.update(format=3)),
    "readable by all": lambda path: path.chmod(0o644),
    "readable by group": lambda path: path.chmod(0o640),
    "a link": replace_with_link,
    "a directory": replace_with_directory,
    "a pipe": replace_with_pipe,
    "short audit key": edit(lambda document: document.update(audit_key="ab" * 31)),
    "audit key not hex": edit(lambda document: document.update(audit_key="zz" * 32)),
    "constant audit key": edit(lambda document: document.update(audit_key="00" * 32)),
    "the format of the release before": edit(
        lambda document: document.update(format=1, service_token="svc." + "abcdefgh" * 4)
    ),
    "no token": edit(lambda document: document.update(tokens=[])),
    "observer only": set_all_tokens(role="observer"),
    "unknown roles only": set_all_tokens(role="root"),
    "short hash": set_all_tokens(sha256="ab"),
    "hash of nothing": edit(
        lambda document: document["tokens"][0].update(sha256=hashlib.sha256(b"").hexdigest())
    ),
    "two equal ids": set_all_tokens(id="tok_same"),
    "two equal secrets": set_all_tokens(sha256="0123456789abcdef" * 4),
}


def set_key(name: str, key: bytes) -> Spoil:
    return edit(lambda document: document.update({name: base64.b64encode(key).decode()}))


SPOILED_LINK: dict[str, Spoil] = {
    **{name: SPOILED[name] for name in list(SPOILED)[: list(SPOILED).index("short audit key")]},
    "another process's": edit(lambda document: document.update(server="model")),
    "a short key": set_key("answers", bytes(range(31))),
    "no base64": edit(lambda document: document.update(requests="*" * 44)),
    "a constant key": set_key("requests", bytes(32)),
    "one key for both": edit(lambda document: document.update(answers=document["requests"])),
}


@pytest.mark.parametrize("name", SPOILED)
def test_unsound_key_material_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, generate_keys(0).material)
    load_keys(path)
    SPOILED[name](path)
    with pytest.raises(StartRefused, match=r"keys\.json"):
        load_keys(path)


@pytest.mark.parametrize("name", SPOILED_LINK)
def test_unsound_keys_of_a_link_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.memory.json"
    write_keys(path, generate_link("gateway", "memory"))
    load_link(path, "memory")
    SPOILED_LINK[name](path)
    with pytest.raises(StartRefused, match=r"keys\.memory\.json"):
        load_link(path, "memory")


def test_a_state_of_the_release_before_gets_its_links(state: State) -> None:
    directory = state.directory
    audit_key = load_keys(directory.keys).audit_key
    SPOILED["the format of the release before"](directory.keys)
    for path in directory.links():
        path.unlink()
    refused = sonia(state, "doctor")
    assert (refused.returncode, "`sonia init --links`" in refused.stderr) == (78, True)
    assert sonia(state, "init", "--links").returncode == 0
    assert load_keys(directory.keys).audit_key == audit_key
    assert "service_token" not in directory.keys.read_text()
    assert sonia(state, "doctor").returncode == 0


def test_new_links_are_not_made_under_a_running_gateway(state: State) -> None:
    before = [path.read_bytes() for path in state.directory.links()]
    lock = state.directory.lock()
    try:
        assert sonia(state, "init", "--links").returncode == 78
    finally:
        state.directory.unlock(lock)
    assert [path.read_bytes() for path in state.directory.links()] == before
    assert sonia(state, "init", "--links").returncode == 0
    assert not set(before) & {path.read_bytes() for path in state.directory.links()}


def test_init_prints_no_key(tmp_path: Path) -> None:
    state = tmp_path / "state"
    shown = sonia(None, "init", "--json", "--state", str(state)).stdout
    assert set(json.loads(shown)) == {"operator", "observer", "state"}
    files = StateDir(state)
    for path in files.links():
        document = json.loads(path.read_text())
        assert document["requests"] not in shown
        assert document["answers"] not in shown
    assert load_keys(files.keys).audit_key not in shown


def test_written_keys_are_private_and_hold_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = generate_keys(0)
    write_keys(path, keys.material)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.operator.split(".")[1] not in path.read_text()
    assert load_keys(path) == keys.material


@pytest.mark.parametrize(
    "name", ["missing", "readable by all", "observer only", "all expired", "short audit key"]
)
def test_gateway_exits_78_and_never_accepts(name: str, state: State) -> None:
    spoil = SPOILED.get(name, set_all_tokens(expires_at_ms=1))
    spoil(state.directory.keys)
    port = free_port()
    accepted: list[bool] = []
    over = threading.Event()

    def hammer() -> None:
        while not over.is_set():
            accepted.append(accepts(port))

    trying = threading.Thread(target=hammer)
    trying.start()
    try:
        ended = subprocess.run(
            run_gateway(state),
            env=environment(port),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        over.set()
        trying.join()
    assert ended.returncode == 78, ended.stderr
    assert ended.stderr.startswith("refused to start: ")
    assert ended.stderr.count("\n") == 1
    assert accepted
    assert not any(accepted)
