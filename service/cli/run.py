"""`sonia run`: one process in the foreground."""

import argparse
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Final

from service.cli.shared import add_command
from service.collector import begin_start
from service.parent import end_with_parent
from service.state import StateDir

if TYPE_CHECKING:
    from service.cli.shared import Commands
    from service.internal.start import Checked

EXAMPLES: Final = """\
sonia run gateway --state ./sonia-state
SONIA_MEMORY_PORT=17020 sonia run memory --state ./sonia-state"""


def add(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "run", act, "Run one process.", EXAMPLES)
    command.add_argument("process", choices=sorted(RUNNERS))


def act(options: argparse.Namespace) -> int:
    """Run the process until it is told to stop."""
    begin_start()
    end_with_parent(os.environ)
    exit_on_sigterm()
    RUNNERS[options.process](StateDir(options.state.absolute()))
    return 0


def exit_on_sigterm() -> None:
    """End with code 0 on SIGTERM, by way of every `finally`: uvicorn raises the signal anew when it
    has drained, and by default that would end the process before its state is closed."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)


def _gateway(state: StateDir) -> None:
    from service.gateway.server import run_gateway

    run_gateway(state, os.environ)


def _check(process: str, state: StateDir) -> "Checked":
    # Before the framework is imported, which takes most of a start: what is refused is refused at once.
    from service.internal.start import check_start

    return check_start(process, state.root, os.environ)


def _model(state: StateDir) -> None:
    checked = _check("model", state)
    from service.model.process import run

    run(checked, os.environ)


def _memory(state: StateDir) -> None:
    checked = _check("memory", state)
    from service.memory.process import run

    run(checked)


def _tools(state: StateDir) -> None:
    checked = _check("tools", state)
    from service.tools.process import run

    run(checked)


RUNNERS: Final = {"gateway": _gateway, "model": _model, "memory": _memory, "tools": _tools}
