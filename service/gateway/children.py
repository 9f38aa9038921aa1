"""The other processes as children of the gateway: started in order, ended with it, however it ends.

A child ends in two ways when the gateway is gone: the kernel signals it (PR_SET_PDEATHSIG, which
fires when the *thread* that spawned it ends, hence a thread that lives as long as the gateway), and
it reads the end of a pipe that only the gateway holds open.
"""

import graphlib
import http.client
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from types import TracebackType
from typing import Final, Self

from service.parent import PARENT_PIPE
from service.processes import BEHIND, Process
from service.state import StateDir

READY_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.05
_LOG: Final = logging.getLogger("sonia.children")


class Children:
    """Starts the other processes on entering and stops them, the last one first, on leaving."""

    def __init__(self, state: StateDir, environ: Mapping[str, str]) -> None:
        self._state = state
        self._environ = environ
        self._running: list[subprocess.Popen[bytes]] = []
        self._ending = threading.Event()
        self._pipe, self._held = os.pipe()
        self._thread = threading.Thread(target=self._live, name="children", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        os.close(self._pipe)
        os.close(self._held)

    def _live(self) -> None:
        for process in in_start_order(BEHIND):
            if self._ending.is_set():
                break
            self._start(process)
        self._ending.wait()
        for child in reversed(self._running):
            _stop(child)

    def _start(self, process: Process) -> None:
        environ = {**self._environ, PARENT_PIPE: str(self._pipe)}
        command = [
            sys.executable,
            "-m",
            "service",
            "run",
            process.name,
            "--state",
            str(self._state.root),
        ]
        child = subprocess.Popen(command, env=environ, pass_fds=(self._pipe,))
        self._running.append(child)
        listen = process.listen(self._environ)
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._ending.is_set() and time.monotonic() < deadline:
            if (code := child.poll()) is not None:
                _LOG.error("%s ended with %d before it was ready", process.name, code)
                return
            if _is_ready(listen.host, listen.port):
                _LOG.info("%s is ready on %s:%d", process.name, listen.host, listen.port)
                return
            self._ending.wait(_POLL_S)


def in_start_order(processes: Iterable[Process]) -> list[Process]:
    """Order `processes` so that each comes after those that it depends on, and else as they are given."""
    by_name = {each.name: each for each in processes}
    before = {name: each.depends_on for name, each in by_name.items()}
    order = graphlib.TopologicalSorter(before).static_order()
    return [by_name[name] for name in order if name in by_name]


def _is_ready(host: str, port: int) -> bool:
    with closing(http.client.HTTPConnection(host, port, timeout=1.0)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
