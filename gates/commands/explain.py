"""`python -m gates explain`: a gate in prose."""

import argparse

from rich.console import Console
from rich.markdown import Markdown

from chaos.errors import HarnessError, SpecError, errors_among
from gates.commands.shared import Commands, add_command
from gates.formats.explain import brief, in_full
from gates.lint.gate import lint_gate
from gates.release.report import EXIT_PROMOTE
from gates.spec.project import read_project


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "explain", act, "a gate in prose: what it claims and what turns it red"
    )
    command.add_argument("gate", help="id or name")
    command.add_argument("--full", action="store_true", help="all of it, with steps and SQL")


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Print a gate in prose."""
    project = read_project(arguments.specs)
    name = project.gate_by(arguments.gate)
    if name is None:
        project.raise_problems()
        raise HarnessError(f"{arguments.gate!r} is not a gate; `python -m gates list` shows all")
    gate = project.gates[name]
    if gate.target not in project.targets:
        project.raise_problems()
    # What cannot be run cannot be told either.
    if wrong := errors_among(lint_gate(gate, project)):
        raise SpecError(wrong)
    lines = in_full(gate, project.targets[gate.target]) if arguments.full else brief(gate)
    text = "\n".join(lines)
    console.print(Markdown(text) if console.is_terminal else text, markup=False)
    return EXIT_PROMOTE
