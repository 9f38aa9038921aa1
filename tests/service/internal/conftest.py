"""Real internal processes, started as an operator starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.clock import wall_ms
from service.keys import NewKeys, generate_keys, write_keys
from tests.service.running import free_port

PATIENCE_S = 30.0


class Internal:
    """One running process and a way to talk to it."""

    def __init__(self, name: str, state: Path, keys: NewKeys, environ: dict[str, str]) -> None:
        self.keys = keys
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
        self, method: str, path: str, body: Any = None, bearer: str | None = "service"
    ) -> httpx.Response:
        token = self.keys.material.service_token if bearer == "service" else bearer
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, json=body, headers=headers)

    def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal it, wait, and return the exit code and what it wrote to stderr."""
        self.process.send_signal(sign)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        _, stderr = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, stderr


@pytest.fixture(scope="module")
def keys() -> NewKeys:
    return generate_keys(wall_ms())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, keys: NewKeys) -> Path:
    directory = tmp_path_factory.mktemp("state")
    write_keys(directory / "keys.json", keys.material)
    (directory / "sonia.yaml").touch()
    return directory


@pytest.fixture(scope="module")
def start(state: Path, keys: NewKeys) -> Iterator[Callable[..., Internal]]:
    """`start(name, **environ)` starts a process without waiting for it; all end with the module."""
    started: list[Internal] = []

    def run(name: str, **environ: str) -> Internal:
        started.append(Internal(name, state, keys, environ))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
