"""What the internal processes do, and when they do not start."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.messages.tool_table import arguments_sha256, canonical_arguments
from service.processes import BEHIND
from service.tools.process import AT_ONCE

PATIENCE_S = 20.0
CHAT = {"messages": [{"role": "user", "content": "hello"}]}


class Upstream(ThreadingHTTPServer):
    """An OpenAI-compatible server that answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), UpstreamHandler)
        self.status = 200
        self.answer: object = {
            "choices": [{"message": {"role": "assistant", "content": "from upstream"}}]
        }
        self.asked: list[tuple[str, str | None, Any]] = []


class UpstreamHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers["authorization"], body))
        answer = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def execute(
    running: Any, name: str, arguments: dict[str, object], approval: str | None = None
) -> Any:
    text = canonical_arguments(name, arguments)
    body = {"arguments_json": text, "args_sha256": arguments_sha256(text), "approval": approval}
    return running.call("POST", f"/internal/tools/{name}/execute", body)


def test_memories_survive_kill_and_keep_to_the_budget(start: Callable[..., Any]) -> None:
    running = start("memory").await_ready()
    body = {"memory_id": "m1", "text": "blue whales sing"}
    assert running.call("POST", "/internal/memories", body).status_code == 201
    assert running.call("POST", "/internal/memories", body).status_code == 200
    assert running.call("POST", "/internal/memories", {**body, "text": "x"}).status_code == 409
    running.call("POST", "/internal/memories", {"text": "whales " * 100})
    running.end(signal.SIGKILL)
    again = start("memory").await_ready()
    ask = {"query": "what of whales?", "max_tokens": 10}
    found = again.call("POST", "/internal/memories/search", ask).json()
    assert [each["memory_id"] for each in found["items"]] == ["m1"]
    assert found["tokens"] <= 10
    assert again.call("POST", "/internal/memories/search", ask).json() == found
    assert again.end() == (0, "")


def test_the_builtin_provider_answers(start: Callable[..., Any]) -> None:
    running = start("model").await_ready()
    first, second = (running.call("POST", "/internal/chat/completions", CHAT) for _ in range(2))
    assert first.status_code == 200
    assert first.json() == second.json()
    assert running.call("POST", "/internal/chat/completions", {"messages": []}).status_code == 400


def test_an_upstream_is_asked_with_its_key_and_its_errors_are_typed(
    start: Callable[..., Any], upstream: Upstream
) -> None:
    url = f"http://127.0.0.1:{upstream.server_address[1]}"
    environ = {
        "SONIA_PROVIDER_URL": url,
        "SONIA_PROVIDER_KEY": "k-123",
        "SONIA_PROVIDER_MODEL": "m-1",
    }
    running = start("model", **environ).await_ready()
    answer = running.call("POST", "/internal/chat/completions", CHAT).json()
    assert answer["choices"][0]["message"]["content"] == "from upstream"
    assert upstream.asked == [("/v1/chat/completions", "Bearer k-123", {**CHAT, "model": "m-1"})]
    codes = []
    for upstream.status in (401, 429, 500):
        failed = running.call("POST", "/internal/chat/completions", CHAT)
        codes.append((failed.status_code, failed.json()["code"]))
    upstream.status, upstream.answer = 200, {"no": "choices"}
    failed = running.call("POST", "/internal/chat/completions", CHAT)
    codes.append((failed.status_code, failed.json()["code"]))
    assert codes == [
        (502, "provider_refused_key"),
        (502, "provider_busy"),
        (502, "provider_failed"),
        (502, "provider_bad_answer"),
    ]


def test_tools_run_behind_the_gate(start: Callable[..., Any], state: Path) -> None:
    running = start("tools").await_ready()
    write = {"path": "a.txt", "content": "hello"}
    assert execute(running, "file.write", write).json()["code"] == "approval_required"
    assert (
        execute(running, "file.write", write, "policy:guarded_low").json()["outcome"] == "succeeded"
    )
    assert (state / "workspace" / "a.txt").read_text() == "hello"
    assert execute(running, "file.read", {"path": "a.txt"}).json()["result"]["content"] == "hello"
    assert execute(running, "file.read", {"path": "../keys.json"}).json()["outcome"] == "refused"
    (state / "workspace" / "loop").symlink_to("loop")
    looped = execute(running, "file.read", {"path": "loop"})
    assert (looped.status_code, looped.json()["outcome"]) == (200, "refused")
    ran = execute(running, "shell.run", {"command": "cat a.txt"}, "confirmation:c1").json()
    assert ran["result"]["stdout"] == "hello"
    forged = {"arguments_json": "{}", "args_sha256": "0" * 64, "approval": None}
    assert running.call("POST", "/internal/tools/file.read/execute", forged).status_code == 403
    nothing = {"arguments_json": "{}", "args_sha256": arguments_sha256("{}"), "approval": None}
    assert running.call("POST", "/internal/tools/file.read/execute", nothing).status_code == 422
    assert running.call("POST", "/internal/tools/file.delete/execute", nothing).status_code == 404


def test_when_all_slots_run_one_more_is_told_at_once(
    start: Callable[..., Any], state: Path
) -> None:
    running = start("tools").await_ready()
    workspace = state / "workspace"
    hold = "touch held-{}; while [ ! -e release ]; do sleep 0.02; done"
    with ThreadPoolExecutor(AT_ONCE) as threads:
        held = [
            threads.submit(
                execute, running, "shell.run", {"command": hold.format(n)}, "confirmation:c"
            )
            for n in range(AT_ONCE)
        ]
        eventually(lambda: len(list(workspace.glob("held-*"))) == AT_ONCE)
        refused = execute(running, "file.read", {"path": "a"})
        (workspace / "release").touch()
    assert (refused.status_code, refused.json()["code"]) == (429, "tools_busy")
    assert {each.result().json()["outcome"] for each in held} == {"succeeded"}
    assert execute(running, "file.read", {"path": "a"}).status_code == 200


@pytest.mark.parametrize("name", [each.name for each in BEHIND])
def test_bad_key_material_refuses_to_start(
    start: Callable[..., Any], state: Path, name: str
) -> None:
    (state / f"keys.{name}.json").chmod(0o644)
    try:
        code, stderr = start(name).wait()
    finally:
        (state / f"keys.{name}.json").chmod(0o600)
    assert code == 78
    assert stderr.startswith(f"refused to start: keys.{name}.json is open to others")


def test_a_workspace_that_holds_the_keys_refuses_to_start(
    start: Callable[..., Any], state: Path
) -> None:
    (state / "sonia.yaml").write_text("tools: {workspace: .}")
    try:
        code, stderr = start("tools").wait()
    finally:
        (state / "sonia.yaml").write_text("")
    assert code == 78
    assert stderr.startswith("refused to start: tools.workspace is ")


def test_an_unknown_provider_refuses_to_start(start: Callable[..., Any]) -> None:
    code, stderr = start("model", SONIA_PROVIDER="opanai").wait()
    assert code == 78
    assert "unknown provider 'opanai'" in stderr


def test_a_damaged_database_refuses_to_start(start: Callable[..., Any], state: Path) -> None:
    database = state / "memory.db"
    kept = database.read_bytes() if database.exists() else None
    database.write_bytes(b"no database" * 1000)
    try:
        code, stderr = start("memory").wait()
    finally:
        database.unlink() if kept is None else database.write_bytes(kept)
    assert code == 78
    assert "refused to start: memory.db" in stderr


def test_a_port_in_use_refuses_to_start(start: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, stderr = start("model", SONIA_MODEL_PORT=str(taken.getsockname()[1])).wait()
    assert code == 78
    assert "refused to start: cannot listen" in stderr


@pytest.mark.parametrize("process", ["gateway", *(each.name for each in BEHIND)])
def test_what_is_refused_imports_neither_the_framework_nor_what_starts_others(
    process: str, tmp_path: Path
) -> None:
    code = (
        "import sys; from service.cli import main; code = main(sys.argv[1:]);"
        " print('imported', *({'litestar', 'uvicorn', 'http.client', 'shutil'} & sys.modules.keys()));"
        " sys.exit(code)"
    )
    refused = subprocess.run(
        [sys.executable, "-c", code, "run", process, "--state", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (78, "imported\n")
    assert refused.stderr.startswith("refused to start: ")
