"""`python -m gates sign`: signs a release that lies there, once it is seen to be consistent."""

import argparse
from pathlib import Path

from rich.console import Console

from gates.commands.shared import Commands, add_command
from gates.formats.console import print_verification
from gates.release.closing import sign_release
from gates.release.manifest import read_manifest
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.verify.verify import Expected, verify


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "sign", act, "sign a release that is consistent")
    command.add_argument("release", type=Path, metavar="RELEASE_DIR")
    command.add_argument("--key", type=Path, required=True, metavar="FILE", help="a private key")


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Sign a release that lies there, once it is seen to be consistent."""
    read_manifest(arguments.release)
    found = verify(arguments.release, Expected())
    if not found.consistent:
        print_verification(found, console)
        console.print("not signed", style="bold red")
        return EXIT_FAILED
    sign_release(arguments.release, arguments.key)
    console.print(f"signed {arguments.release}: {found.verdict}", markup=False)
    return EXIT_PROMOTE
