"""The `sonia` command as its users type it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.processes import BEHIND
from tests.service.running import Answer, Gateway, State, environment, free_port, sonia, until


def test_init_shows_the_tokens_once(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    made = sonia(None, "init", "--state", str(directory), "--json")
    assert made.returncode == 0
    shown = json.loads(made.stdout)
    assert sorted(shown) == ["observer", "operator", "state"]
    assert shown["state"] == str(directory)
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        for role in ("operator", "observer"):
            assert shown[role].split(".")[1].encode() not in path.read_bytes()
    again = sonia(None, "init", "--state", str(directory))
    assert again.returncode == 1
    assert "--force" in again.stderr


def test_init_with_force_puts_the_old_state_aside(state: State) -> None:
    before = state.directory.keys.read_bytes()
    assert sonia(state, "init", "--force").returncode == 0
    assert state.directory.keys.read_bytes() != before
    kept = list(state.directory.root.glob("replaced-*/keys.json"))
    assert [path.read_bytes() for path in kept] == [before]
    assert sonia(state, "audit", "verify").returncode == 0


def test_the_state_directory_may_come_from_the_environment(state: State) -> None:
    listed = sonia(None, "token", "list", "--json", SONIA_STATE=str(state.directory.root))
    roles = [item["role"] for item in json.loads(listed.stdout)["items"]]
    assert sorted(roles) == ["observer", "operator"]


def test_version_and_contract() -> None:
    assert sonia(None, "--version").stdout == "sonia 4.6.0 (contract v4.5.0)\n"


@pytest.mark.parametrize("command", ["init", "up", "run", "token", "audit", "routes", "doctor"])
def test_every_command_helps_with_examples(command: str) -> None:
    helped = sonia(None, command, "--help")
    assert helped.returncode == 0
    assert "examples:" in helped.stdout


def test_routes_are_listed_without_any_state() -> None:
    listed = sonia(None, "routes", "--json")
    assert listed.returncode == 0, listed.stderr
    items = json.loads(listed.stdout)["items"]
    assert {"method": "POST", "path": "/tasks", "role": "operator", "kind": "http"} in items
    assert "operator  POST      /tasks" in sonia(None, "routes").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "issue", "--role", "root"),
        ("token", "issue", "--role", "operator", "--ttl", "5"),
        ("token", "rotate"),
        ("run", "nothing"),
        (),
    ],
)
def test_a_command_line_that_is_not_understood_exits_2(arguments: tuple[str, ...]) -> None:
    assert sonia(None, *arguments).returncode == 2


def test_an_unknown_token_is_an_error_of_one_line(state: State) -> None:
    revoked = sonia(state, "token", "revoke", "tok_none")
    assert revoked.returncode == 1
    assert revoked.stderr == "error: there is no token tok_none\n"


def test_doctor_tells_every_setting_in_force(state: State) -> None:
    state.directory.settings.write_text("turn: {memory_max_tokens: 17}\n")
    looked_over = sonia(state, "doctor", "--json", SONIA_MODEL_PORT="17010")
    assert looked_over.returncode == 0, looked_over.stderr
    report = json.loads(looked_over.stdout)
    assert report["settings"]["turn"]["memory_max_tokens"] == 17
    assert report["settings"]["auth"]["enabled"] is True
    assert report["listens"]["model"] == "127.0.0.1:17010"
    assert report["listens"]["memory"] == "127.0.0.1:7020"
    assert report["settled"] == {}


def test_what_is_no_state_directory_is_refused(tmp_path: Path) -> None:
    for command in (("run", "gateway"), ("token", "list"), ("doctor",), ("audit", "verify")):
        refused = sonia(None, *command, "--state", str(tmp_path / "none"))
        assert refused.returncode in {1, 78}, command
        assert "Traceback" not in refused.stderr, command


def test_a_port_in_use_is_refused(gateway: Gateway, state: State) -> None:
    refused = sonia(state, "run", "gateway", SONIA_GATEWAY_PORT=str(gateway.port))
    assert refused.returncode == 78
    assert "cannot listen" in refused.stderr


def started_up(state: State) -> tuple[Gateway, "subprocess.Popen[bytes]"]:
    ports = {each.name.upper(): free_port() for each in BEHIND}
    extra: dict[str, str] = {}
    for name, port in ports.items():
        extra |= {f"SONIA_{name}_PORT": str(port), f"SONIA_{name}_URL": f"http://127.0.0.1:{port}"}
    # A slow machine takes its time, which is none of the matter here.
    state.directory.settings.write_text("turn: {memory_timeout_s: 30, model_timeout_s: 30}\n")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "up", "--state", str(state.directory.root)],
        env=environment(port, extra),
    )
    return Gateway(state, port, process), process


def readiness(gateway: Gateway) -> Any:
    try:
        answer: Answer = gateway.call("GET", "/readyz")
    except OSError:
        return {}
    return answer.json["dependencies"]


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in listed for child in each.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_up_starts_everything_and_leaves_nothing_behind(
    state: State, ending: signal.Signals
) -> None:
    gateway, process = started_up(state)
    children: list[int] = []
    try:
        until(lambda: set(readiness(gateway).values()) == {"up"}, process)
        children = children_of(process.pid)
        assert len(children) == len(BEHIND)
        turn = gateway.operator("POST", "/v1/turn", {"text": "hello"})
        assert turn.json["degraded"] is False
        process.send_signal(ending)
        code = process.wait(30)
        assert code == {signal.SIGTERM: 0, signal.SIGKILL: -9, signal.SIGINT: 130}[ending]
        until(lambda: not any(alive(child) for child in children))
    finally:
        process.kill()
        process.wait(20)
        for child in children:
            if alive(child):
                os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    "command",
    ["init --force", "token list", "token issue --role observer", "audit verify", "doctor"],
)
def test_a_command_imports_nothing_of_a_server(state: State, command: str) -> None:
    code = (
        "import sys; from service.cli import main; code = main(sys.argv[1:]);"
        " print('imported', *({'asyncio', 'litestar', 'shutil', 'uvicorn', 'yaml'} & sys.modules.keys()));"
        " sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split(), "--state", str(state.directory.root)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported"
