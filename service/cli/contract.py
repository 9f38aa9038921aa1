"""`sonia contract`: whether the API of this release keeps what clients of an earlier one rely on."""

import argparse
from pathlib import Path
from typing import Final

import msgspec

from service import SONIA_CONTRACT
from service.cli.shared import Commands, add_command, print_json, print_line

DEFAULT_FILE: Final = Path("specs", "contract", f"{SONIA_CONTRACT}.json")
EXAMPLES: Final = """\
sonia contract
sonia contract specs/contract/v4.5.0.json --json"""


class ContractReport(msgspec.Struct, frozen=True):
    """The contract that was compared with, and every way in which it is broken."""

    contract: str
    kept: bool
    breaking_changes: list[str]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(
        commands, common, "contract", act, "Compare the API with an earlier release's.", EXAMPLES
    )
    command.add_argument(
        "file", type=Path, nargs="?", default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Compare and list what is broken; exit code 1 when anything is."""
    from service.contract import breaking_changes, load_contract
    from service.gateway.app import HANDLERS, assemble
    from service.http.routing import list_routes

    contract = load_contract(options.file)
    app = assemble(HANDLERS)
    routes = {f"{each.method} {each.path}" for each in list_routes(app).items}
    broken = breaking_changes(contract, app.openapi_schema.to_schema(), routes)
    if options.json:
        print_json(ContractReport(contract.contract, not broken, broken))
    else:
        for each in broken or [f"{contract.contract} is kept"]:
            print_line(each)
    return 1 if broken else 0
