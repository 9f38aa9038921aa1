"""`python -m gates keygen`: a key pair to sign releases with."""

import argparse
from pathlib import Path

from rich.console import Console

from gates.commands.shared import Commands, add_command
from gates.release import signing
from gates.release.report import EXIT_PROMOTE


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "keygen", act, "a key pair to sign releases with")
    command.add_argument(
        "file", type=Path, metavar="FILE", help="the private key; FILE.pub as well"
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Make a key pair for signing."""
    public, key_id = signing.make_keys(arguments.file)
    console.print(
        f"private key: {arguments.file} (keep it; only its owner can read it)", markup=False
    )
    console.print(f"public key:  {public}", markup=False)
    console.print(f"key id:      {key_id}", markup=False)
    return EXIT_PROMOTE
