"""`sonia run`: one process in the foreground."""

import argparse
import os
from typing import TYPE_CHECKING, Final

from service.cli.shared import add_command
from service.state import StateDir

if TYPE_CHECKING:
    from service.cli.shared import Commands

PROCESSES: Final = ("gateway", "model", "memory", "tools")
EXAMPLES: Final = """\
sonia run gateway --state ./sonia-state
SONIA_MEMORY_PORT=17020 sonia run memory --state ./sonia-state"""


def add(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(
        commands, common, "run", act, "Run one process in the foreground.", EXAMPLES
    )
    command.add_argument("process", choices=PROCESSES)


def act(options: argparse.Namespace) -> int:
    """Run the process until it is told to stop."""
    run_process(options.process, StateDir(options.state.absolute()))
    return 0


def run_process(process: str, state: StateDir) -> None:
    """Run `process` in this process. Raises StartRefused."""
    if process == "gateway":
        from service.gateway.server import run_gateway

        run_gateway(state, os.environ)
