"""`sonia keys`: renew what the audit log is written with, and by what processes know each other."""

import argparse
from typing import Final

from service.cli.shared import Commands, add_command, locked, print_line
from service.state import StateDir

EXAMPLES: Final = """\
sonia keys rotate     with the gateway stopped; then copy keys.json to where your backups are"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    plain = argparse.ArgumentParser(add_help=False)
    command = add_command(commands, plain, "keys", act, "Renew keys.", EXAMPLES)
    actions = command.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser(
        "rotate",
        parents=[common],
        help="renew the audit log's key and those between processes; tokens stay",
    )


def act(options: argparse.Namespace) -> int:
    """Renew them, with the gateway stopped."""
    from service.renewing import renew_keys

    state = StateDir(options.state.absolute())
    with locked(state), state.keys_held(alone=True):
        to_seq = renew_keys(state)
    print_line(
        f"the keys are new; rows of the audit log up to {to_seq} are checked with earlier ones"
    )
    return 0
