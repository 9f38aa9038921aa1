"""`sonia run`: one process in the foreground."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Final

from service.cli.shared import Commands, add_command
from service.collector import begin_start
from service.parent import end_with_parent
from service.processes import GATEWAY, PROCESSES, Process
from service.state import StateDir

EXAMPLES: Final = """\
sonia run gateway --state ./sonia-state
SONIA_MEMORY_PORT=17020 sonia run memory --state ./sonia-state"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "run", act, "Run one process.", EXAMPLES)
    command.add_argument("process", choices=sorted(PROCESSES))


def act(options: argparse.Namespace) -> int:
    """Run the process until it is told to stop."""
    begin_start()
    end_with_parent(os.environ)
    exit_on_sigterm()
    run_process(PROCESSES[options.process], StateDir(options.state.absolute()), os.environ)
    return 0


def exit_on_sigterm() -> None:
    """End with code 0 on SIGTERM, by way of every `finally`: uvicorn raises the signal anew when it
    has drained, and by default that would end the process before its state is closed."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)


def run_process(process: Process, state: StateDir, environ: Mapping[str, str]) -> None:
    """Serve `process` until it is told to stop. Raises StartRefused, in which case no port was opened."""
    if process is GATEWAY:
        process.load()(state, environ)
        return
    # Before what it serves with is imported, which takes most of a start: what is refused is refused at once.
    from service.internal.start import check_start

    checked = check_start(process, state.root, environ)
    process.load()(checked)
