"""`sonia audit verify`: is the audit log the one that was written?"""

import argparse
import sys
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
    verify = actions.add_parser(
        "verify", parents=[common], help="check every row and checkpoint, and the state by them"
    )
    verify.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Check the log and the state, reading only; works beside a running gateway, and on a copy."""
    from service.audit.verify import verify_audit
    from service.keys import load_keys
    from service.storage.database import look_at

    state = StateDir(options.state.absolute())
    with state.keys_held():
        keys = load_keys(state.keys).audit_keys()
        report = look_at(
            state.database,
            lambda connection: verify_audit(connection, state.checkpoints, keys, state.archive),
        )
    if options.json:
        print_json(report)
        return 0 if report.intact else 1
    if report.torn_checkpoint:
        print_line(f"a checkpoint was cut off, which is no tampering: {report.torn_checkpoint}")
    if report.elsewhere_to_seq:
        print_line(
            f"rows up to {report.elsewhere_to_seq} are in no archive that is here, and were not checked"
        )
    if report.intact:
        print_line(f"intact: {report.rows} rows, {report.checkpoints} checkpoints")
        return 0
    where = "" if report.first_bad_seq is None else f" at row {report.first_bad_seq}"
    sys.stderr.write(f"tampered with{where}: {report.reason}\n")
    return 1
