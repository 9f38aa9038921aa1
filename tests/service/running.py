"""A state directory and a gateway process as its users meet them."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from chaos.ports import PortPool
from service.audit.chain import GENESIS, AuditEntry, read_head, row_hmac
from service.audit.checkpoints import CheckpointWriter
from service.cli.init import create_state
from service.http.signatures import Signer
from service.keys import load_link
from service.processes import BEHIND
from service.query import select
from service.state import StateDir

START_WITHIN_S = 30.0
MOST_HELD = 64
HELD: deque[PortPool] = deque()


class State(msgspec.Struct, frozen=True):
    """A fresh state directory and its bootstrap tokens."""

    directory: StateDir
    operator: str
    observer: str

    def signer(self, server: str) -> Signer:
        """The gateway's end of its link to `server`."""
        return Signer(load_link(self.directory.link(server), server))


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; `json` is its decoded body or None."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


def exchange(
    port: int, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]
) -> Answer:
    """One request on a connection of its own; names of headers in lower case. OSError where no answer comes, or half of one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, payload, dict(headers))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    except http.client.HTTPException as cut:
        raise ConnectionError(f"half of an answer: {cut}") from cut
    finally:
        connection.close()


class Gateway:
    """A running gateway process."""

    def __init__(self, state: State, port: int, process: subprocess.Popen[bytes]) -> None:
        self.state = state
        self.port = port
        self.process = process

    def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            sent["Content-Type"] = "application/json"
        return exchange(self.port, method, path, payload, sent)

    def operator(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(method, path, self.state.operator, body, named)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


def new_state(directory: Path, configuration: str = "") -> State:
    state = StateDir(directory)
    keys = create_state(state, force=False)
    state.settings.write_text(configuration, encoding="utf-8")
    return State(state, keys.operator, keys.observer)


def exchange_signed(
    signer: Signer,
    port: int,
    method: str,
    path: str,
    payload: bytes | None,
    headers: Mapping[str, str],
) -> Answer:
    """One request of the gateway's; its answer has to be signed, too, and is given without the signature."""
    signed = signer.sign(method, path, payload or b"")
    answer = exchange(port, method, path, payload, {**headers, **signed})
    assert signer.holds(signed, answer.status, answer.headers, answer.body)
    of_signature = {name.lower() for name in signed}
    left = {name: value for name, value in answer.headers.items() if name not in of_signature}
    return Answer(answer.status, left, answer.body)


def free_port() -> int:
    """A port outside of the kernel's ephemeral range, so that no outgoing connection takes it first.

    It is kept from other runs on this machine until many more have been asked for.
    """
    if len(HELD) == MOST_HELD:
        HELD.popleft().release()
    HELD.append(PortPool())
    return HELD[-1].take()


def environment(port: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    # Nothing listens on port 9 of this machine: the gateway's dependencies are down.
    nowhere = {f"SONIA_{each.name.upper()}_URL": "http://127.0.0.1:9" for each in BEHIND}
    return {**os.environ, **nowhere, "SONIA_GATEWAY_PORT": str(port), **(extra or {})}


def sonia(state: State | None, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run one `sonia` command to its end."""
    command = [sys.executable, "-m", "service", *arguments]
    if state is not None:
        command += ["--state", str(state.directory.root)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **extra},
    )


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run_gateway(state: State) -> list[str]:
    """The command that runs a gateway on `state` in the foreground."""
    root = str(state.directory.root)
    return [sys.executable, "-m", "service", "run", "gateway", "--state", root]


@contextmanager
def running(
    state: State, extra: Mapping[str, str] | None = None, *, descriptors: int | None = None
) -> Iterator[Gateway]:
    """Start a gateway on `state`, wait until it answers, and end it afterwards.

    `descriptors` is how many it may have open; its limit is its own, the test's worker keeps what it has.
    """
    port = free_port()
    command = run_gateway(state)
    if descriptors is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
    process = subprocess.Popen(command, env=environment(port, extra))
    gateway = Gateway(state, port, process)
    try:
        until(lambda: accepts(port), process)
        yield gateway
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(20)


def until(condition: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for `condition`, and fail when it does not come or `process` ends before."""
    deadline = time.monotonic() + START_WITHIN_S
    while not condition():
        assert process is None or process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.02)


def rows(state: State, statement: str, *bindings: Any) -> list[tuple[Any, ...]]:
    """Query the stopped or running database, reading only."""
    connection = apsw.Connection(str(state.directory.database), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return list(connection.execute(statement, bindings))
    finally:
        connection.close()


def restamp(state: State, key: bytes) -> None:
    """Write the stopped database's whole log as `key` would have written it, and a checkpoint of its end."""
    previous = GENESIS
    connection = apsw.Connection(str(state.directory.database))
    with closing(connection):
        for entry in select(connection, AuditEntry, "FROM audit ORDER BY seq"):
            row = msgspec.structs.replace(entry, prev_hmac=previous)
            previous = row_hmac(key, row)
            connection.execute(
                "UPDATE audit SET prev_hmac = ?, hmac = ? WHERE seq = ?",
                (row.prev_hmac, previous, row.seq),
            )
        head = read_head(connection)
    CheckpointWriter(state.directory.checkpoints, key, 1, 0).write(head)


def alter(state: State, statement: str, *bindings: Any) -> None:
    """Change the stopped database behind SONIA's back."""
    rows(state, statement, *bindings)
