"""The gateway, whole but for a model that only takes its time.

`python -m bench.turn_server SECONDS` prints the port, an operator's token and its process, and ends with its input.
"""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.stubs import with_stubs
from service.cli.init import create_state
from service.control import open_control
from service.domain.call import Services
from service.gateway.app import create_app
from service.gateway.boot import boot
from service.ids import random_id
from service.internal.runner import bind, serve_on
from service.notify import ServiceManager
from service.processes import Listen
from service.state import StateDir

# Degrade mode would do without the model, and no turn would wait for another.
SETTINGS = "slo: {min_count: 1000000}\n"


def serve_until_input_ends(changed: Callable[[Services], Services]) -> None:
    """Serve a gateway with `changed` services of a new state until standard input ends; print its port, a token and its process."""
    with tempfile.TemporaryDirectory(prefix="bench-service-") as directory:
        state = StateDir(Path(directory) / "state")
        token = create_state(state, force=False).operator
        state.settings.write_text(SETTINGS)
        bound = bind(Listen("127.0.0.1", 0))
        listen = Listen("127.0.0.1", bound.getsockname()[1])
        control = open_control(state)
        try:
            services = changed(boot(control, listen, {}, random_id))
            threading.Thread(target=_end_with_input, daemon=True).start()
            serve_on(
                create_app(services, listen),
                bound,
                manager=_Bench(f"{listen.port} {token} {os.getpid()}"),
            )
        finally:
            control.close()


class _Bench(ServiceManager):
    """Whoever measures waits for a line."""

    def __init__(self, line: str) -> None:
        super().__init__({})
        self._line = line

    def serving(self) -> None:
        print(self._line, flush=True)


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve_until_input_ends(partial(with_stubs, model_s=float(sys.argv[1])))
