"""The other processes as children of the gateway: each is started once those are ready that it depends on, and
ended with the gateway, however it ends.

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

import msgspec

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
        by_name = {each.name: each for each in BEHIND}
        order = start_order(BEHIND)
        starting: list[_Starting] = []
        while order.is_active() and not self._ending.is_set():
            starting += [self._start(by_name[name]) for name in order.get_ready()]
            for each in [each for each in starting if self._is_over(each)]:
                starting.remove(each)
                order.done(each.process.name)
            self._ending.wait(_POLL_S)
        self._ending.wait()
        for child in reversed(self._running):
            _stop(child)

    def _start(self, process: Process) -> "_Starting":
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
        return _Starting(process, child, time.monotonic() + READY_WITHIN_S)

    def _is_over(self, starting: "_Starting") -> bool:
        """Whether a start need not be waited for any more: it is ready, has ended, or its time is over."""
        name, listen = starting.process.name, starting.process.listen(self._environ)
        if (code := starting.child.poll()) is not None:
            _LOG.error("%s ended with %d before it was ready", name, code)
            return True
        if _is_ready(listen.host, listen.port):
            _LOG.info("%s is ready on %s:%d", name, listen.host, listen.port)
            return True
        return time.monotonic() > starting.deadline_s


class _Starting(msgspec.Struct, frozen=True):
    process: Process
    child: subprocess.Popen[bytes]
    deadline_s: float


def start_order(processes: Iterable[Process]) -> "graphlib.TopologicalSorter[str]":
    """Say by name which of `processes` may start: all at once, but for those that depend on others of them."""
    by_name = {each.name: each for each in processes}
    before = {name: by_name.keys() & each.depends_on for name, each in by_name.items()}
    order = graphlib.TopologicalSorter(before)
    order.prepare()
    return order


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
