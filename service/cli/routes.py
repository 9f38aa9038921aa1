"""`sonia routes`: every route of the gateway with the role it asks for."""

import argparse
from typing import Final

from service.cli.shared import Commands, add_command, print_json, print_line

EXAMPLES: Final = """\
sonia routes
sonia routes --json"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "routes", act, "List all routes and roles.", EXAMPLES)
    command.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Build the gateway's application without serving it, and list what it would answer."""
    from service.gateway.app import describe_routes

    listed = describe_routes()
    if options.json:
        print_json(listed)
        return 0
    for item in listed.items:
        print_line(f"{item.role:9} {item.method:9} {item.path}")
    return 0
