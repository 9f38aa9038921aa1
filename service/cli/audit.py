"""`sonia audit verify`: is the audit log the one that was written?"""

import argparse
import sys
from contextlib import closing
from typing import Final

from service.cli.shared import Commands, add_command, print_json, print_line
from service.state import StateDir

EXAMPLES: Final = """\
sonia audit verify           exit 0: intact; exit 1: tampered with, naming the first bad row
sonia audit verify --json"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(
        commands,
        argparse.ArgumentParser(add_help=False),
        "audit",
        act,
        "Check the audit log.",
        EXAMPLES,
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")
    verify = actions.add_parser("verify", parents=[common], help="check every row and checkpoint")
    verify.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Check the log, reading only; works beside a running gateway."""
    from service.audit.verify import verify_audit
    from service.keys import load_keys
    from service.settings import load_settings
    from service.storage.database import open_reader

    state = StateDir(options.state.absolute())
    key = load_keys(state.keys).audit_key_bytes()
    with closing(open_reader(state.database, load_settings(state.settings).storage)) as connection:
        report = verify_audit(connection, state.checkpoints, key)
    if options.json:
        print_json(report)
    elif report.intact:
        print_line(f"intact: {report.rows} rows, {report.checkpoints} checkpoints")
    else:
        sys.stderr.write(f"tampered with at row {report.first_bad_seq}: {report.reason}\n")
    return 0 if report.intact else 1
