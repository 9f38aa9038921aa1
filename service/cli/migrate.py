"""`sonia migrate`: which schema the database has, and moving it."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import Final

from service.cli.shared import Commands, add_command, locked, print_json, print_line
from service.state import StateDir

EXAMPLES: Final = """\
sonia migrate status
sonia migrate up                                what every start does
sonia migrate down --to 3 --export lost.jsonl   for the release before this one"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    plain = argparse.ArgumentParser(add_help=False)
    command = add_command(commands, plain, "migrate", act, "Move the database's schema.", EXAMPLES)
    actions = command.add_subparsers(required=True, metavar="ACTION", dest="action")
    status = actions.add_parser("status", parents=[common], help="tell the schema; write nothing")
    status.add_argument("--json", action="store_true", help="print JSON")
    actions.add_parser("up", parents=[common], help="back up and bring it to the newest")
    down = actions.add_parser("down", parents=[common], help="back up and take steps back")
    down.add_argument("--to", type=int, required=True, metavar="SCHEMA", help="the schema wanted")
    down.add_argument("--export", type=Path, metavar="FILE", help="a new file for what is lost")


def act(options: argparse.Namespace) -> int:
    """Move it with the gateway stopped, or tell it."""
    from service.migrating import schema_of

    state = StateDir(options.state.absolute())
    if options.action == "status":
        schema = schema_of(state)
        if options.json:
            print_json(schema)
        else:
            print_line(f"schema {schema.schema}; this release brings it to {schema.newest}")
        return 0
    with locked(state):
        if options.action == "up":
            _up(state)
        else:
            _down(state, options.to, options.export)
    return 0


def _up(state: StateDir) -> None:
    from service.control import open_control
    from service.migrating import schema_of

    with closing(open_control(state)):
        pass
    print_line(f"schema {schema_of(state).schema}")


def _down(state: StateDir, to: int, export: Path | None) -> None:
    from service.migrating import migrate_down

    schema, backup = migrate_down(state, to, export)
    print_line(f"schema {schema.schema}{f'; a backup of before is {backup}' if backup else ''}")
