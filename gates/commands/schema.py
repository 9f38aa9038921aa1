"""`python -m gates schema`: the JSON Schemas of all specs."""

import argparse

from rich.console import Console

from gates.commands.shared import Commands, add_command
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.spec import schemas


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "schema", act, "write the JSON Schemas of all specs")
    command.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if one is out of date"
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Write the JSON Schemas, or say which are out of date."""
    directory = arguments.specs / "schema"
    if arguments.check:
        stale = schemas.stale(directory)
        for path in stale:
            console.print(f"{path} is out of date: run `python -m gates schema`", markup=False)
        return EXIT_FAILED if stale else EXIT_PROMOTE
    for path in schemas.write_schemas(directory):
        console.print(f"wrote {path}", markup=False)
    return EXIT_PROMOTE
