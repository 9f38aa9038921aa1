"""`python -m gates judge`: the verdicts of a release again, from its evidence alone."""

import argparse
from pathlib import Path

from rich.console import Console

from gates.commands.shared import Commands, add_command
from gates.formats.console import print_report
from gates.release.rejudge import rejudge
from gates.release.report import EXIT_FAILED


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "judge", act, "verdicts again, from the evidence alone")
    command.add_argument("release", type=Path, metavar="RELEASE_DIR")


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Recompute all verdicts of a release from its evidence; differences from its report are failures."""
    again, differences = rejudge(arguments.release)
    recomputed = again.report
    print_report(recomputed, arguments.release, console)
    for difference in differences:
        console.print(
            f"differs from gate-report.json: {difference}", style="bold red", markup=False
        )
    return EXIT_FAILED if differences else recomputed.exit_code
