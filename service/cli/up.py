"""`sonia up`: the gateway, with the other processes as its children."""

import argparse
import os
from typing import Final

from service.cli.run import exit_on_sigterm
from service.cli.shared import Commands, add_command
from service.collector import begin_start
from service.state import StateDir

EXAMPLES: Final = """\
sonia up --state ./sonia-state
SONIA_GATEWAY_PORT=17000 sonia up      another port for the gateway"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    add_command(commands, common, "up", act, "Run the whole system.", EXAMPLES)


def act(options: argparse.Namespace) -> int:
    """Run the gateway and its children until told to stop."""
    begin_start()
    from service.gateway.server import run_gateway

    exit_on_sigterm()
    run_gateway(StateDir(options.state.absolute()), os.environ, with_children=True)
    return 0
