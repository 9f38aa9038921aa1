"""`python -m gates diff`: what changed between two reports."""

import argparse
from pathlib import Path

from rich.console import Console

from gates.commands.shared import Commands, add_command
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE, Report
from gates.release.stored import read_loosely, stored_report
from gates.verify.diff import compare
from gates.verify.diff_render import as_json, as_markdown, as_text

EXAMPLES = """\
Lists changed statuses, gates that came or went, assertions that were loosened or tightened, and changed
configuration and defects. Loosened ones, and those of which it cannot be told, are flagged.

examples:
  python -m gates diff releases/v4.6.0-baseline releases/v4.6.0
  python -m gates diff old/gate-report.json releases/v4.6.0/gate-report.json --format markdown

exit codes:
  0  nothing was loosened
  1  something was, or may have been
  4  one of them cannot be read
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "diff", act, "what changed between two reports", EXAMPLES)
    command.add_argument("base", type=Path, metavar="BASE", help="a report, or a release directory")
    command.add_argument("new", type=Path, metavar="NEW", help="another one")
    command.add_argument("--format", choices=("text", "json", "markdown"), default="text")


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Say what changed between two reports."""
    found = compare(_report_at(arguments.base), _report_at(arguments.new))
    text = {"text": as_text, "json": as_json, "markdown": as_markdown}[arguments.format](found)
    console.out(text, highlight=False)
    return EXIT_FAILED if found.flagged else EXIT_PROMOTE


def _report_at(path: Path) -> Report:
    """A report, given as its file or as the directory of its release."""
    return stored_report(path) if path.is_dir() else read_loosely(path.resolve(), Report)
