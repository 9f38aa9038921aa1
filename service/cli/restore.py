"""`sonia restore`: a backup in the place of the control database."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.cli.shared import Commands, add_command, locked, print_json, print_line
from service.state import StateDir

if TYPE_CHECKING:
    from service.replacing import Replaced

EXAMPLES: Final = """\
sonia restore /backup/control.db                 what was there is put aside into quarantine/
sonia restore /backup/control.db --tokens end    what was there is lost: whatever was revoked since stays so"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "restore", act, "Put a backup in place.", EXAMPLES)
    command.add_argument("backup", type=Path, help="a file that `sonia backup` has made")
    command.add_argument(
        "--tokens",
        choices=("end", "keep"),
        help="where it is not known which were revoked since: end all, or let all work as in the backup",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Check the backup and put it in place, with the gateway stopped."""
    from service.replacing import replace_database

    state = StateDir(options.state.absolute())
    with locked(state):
        replaced = replace_database(state, options.backup.absolute(), options.tokens)
    tell(replaced, options.json)
    return 0


def tell(replaced: "Replaced", as_json: bool) -> None:
    """Say what is in place now, and what is not."""
    if as_json:
        print_json(replaced)
        return
    print_line(f"the control database is in place; its audit log ends at row {replaced.last_seq}")
    if replaced.known_seq > replaced.last_seq:
        print_line(f"lost: what the rows up to {replaced.known_seq} tell of")
    if replaced.quarantine:
        print_line(f"what was there is in quarantine/{replaced.quarantine}")
    if replaced.settled.tokens:
        print_line(
            f"tokens that were ended, as they were or may have been: {replaced.settled.tokens}"
        )
    if replaced.settled.tasks:
        print_line(
            f"tasks that may have been run since, and wait for an operator: {replaced.settled.tasks}"
        )
