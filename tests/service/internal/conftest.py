"""Real internal processes, started as an operator starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.http.signatures import Signer
from service.keys import generate_link, load_link, write_keys
from service.processes import BEHIND
from service.state import StateDir
from tests.service.running import free_port

PATIENCE_S = 30.0


class Internal:
    """One running process and a way to talk to it."""

    def __init__(self, name: str, state: Path, environ: dict[str, str]) -> None:
        self.link = StateDir(state).link(name)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "run", name, "--state", str(state)],
            env={**os.environ, f"SONIA_{name.upper()}_PORT": str(self.port), **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @cached_property
    def signer(self) -> Signer:
        return Signer(load_link(self.link, self.link.name.split(".")[1]))

    def await_ready(self) -> "Internal":
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"never ready: {self.end(signal.SIGKILL)}")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request, signed unless `headers` are given in the signature's place."""
        payload = b"" if body is None else json.dumps(body).encode()
        sent = self.signer.sign(method, path, payload) if headers is None else headers
        content = {"Content-Type": "application/json"} if payload else {}
        return self.client.request(method, path, content=payload, headers={**content, **sent})

    def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal it, wait, and return the exit code and what it wrote to stderr."""
        self.process.send_signal(sign)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        _, stderr = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, stderr


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the processes behind the gateway need: there are no other keys than theirs."""
    directory = tmp_path_factory.mktemp("state")
    for each in BEHIND:
        write_keys(StateDir(directory).link(each.name), generate_link("gateway", each.name))
    (directory / "sonia.yaml").touch()
    return directory


@pytest.fixture(scope="module")
def start(state: Path) -> Iterator[Callable[..., Internal]]:
    """`start(name, **environ)` starts a process without waiting for it; all end with the module."""
    started: list[Internal] = []

    def run(name: str, **environ: str) -> Internal:
        started.append(Internal(name, state, environ))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
