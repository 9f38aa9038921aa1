"""`python -m gates lint`: every problem of every spec, with its place."""

import argparse
from pathlib import Path

from rich.console import Console

from chaos.errors import SpecError, errors_among
from gates.commands.shared import Commands, add_command
from gates.formats.console import counted
from gates.lint import gate
from gates.lint.files import problems_in
from gates.release.report import EXIT_PROMOTE
from gates.spec.project import read_project


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "lint", act, "check every spec without running anything")
    command.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="only problems in these files"
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Print every problem of the specs, or only those of some files; warnings alone are no reason to fail."""
    project = read_project(arguments.specs)
    problems = gate.lint(project)
    if arguments.paths and project.specs.is_dir():
        problems = problems_in(project, problems, arguments.paths)
    if errors_among(problems):
        raise SpecError(problems)
    for warning in problems:
        console.print(warning.render(), markup=False)
    found = counted(len(problems), "warning") if problems else "no problems"
    console.print(
        f"{counted(len(project.gates), 'gate')}, {counted(len(project.targets), 'target')}: {found}"
    )
    return EXIT_PROMOTE
