"""`sonia backup`: a copy of the control database, also beside a running gateway."""

import argparse
from pathlib import Path
from typing import Final

from service.cli.shared import Commands, add_command, print_line
from service.errors import SoniaError
from service.state import StateDir

EXAMPLES: Final = """\
sonia backup /backup/control-monday.db     also while the gateway runs"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "backup", act, "Copy the control database.", EXAMPLES)
    command.add_argument("file", type=Path, help="the new file")


def act(options: argparse.Namespace) -> int:
    """Copy the database as it is now, and look the copy and its audit log over."""
    import apsw

    from service.audit.verify import verify_copy
    from service.keys import load_keys
    from service.storage.backup import copy_database
    from service.storage.damage import check_kept
    from service.storage.database import look_at

    state = StateDir(options.state.absolute())
    with state.keys_held():
        keys = load_keys(state.keys).audit_keys()
        check_kept(state)
        file = options.file.absolute()
        try:
            look_at(state.database, lambda connection: copy_database(connection, file))
        except (OSError, apsw.Error) as wrong:
            raise SoniaError(f"no backup was made: {wrong}") from wrong
    report, head = look_at(file, lambda connection: verify_copy(connection, keys))
    if not report.intact:
        raise SoniaError(f"{file} is a copy, and its audit log is not intact: {report.reason}")
    print_line(f"{file}: sound; its audit log ends at row {head.seq}")
    return 0
