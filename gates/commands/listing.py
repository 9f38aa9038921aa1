"""`python -m gates list`: the gates of the release, and which of them exist."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gates.commands.shared import Commands, add_command
from gates.release.report import EXIT_PROMOTE
from gates.run.durations import Took, last_runs
from gates.spec.project import Project, read_project


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "list", act, "all gates of the release, and which of them exist"
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument("--missing", action="store_true", help="only those that do not exist yet")
    which.add_argument(
        "--slow", action="store_true", help="what each took when it last ran, the slowest first"
    )
    command.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where sessions record (default: runs)"
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Print the gates of the release with their state."""
    project = read_project(arguments.specs)
    if arguments.slow:
        return _list_slow(project, last_runs(arguments.runs), console)
    table = Table("id", "gate", "class", "title", box=None, pad_edge=False)
    listed = (
        [(entry.id, entry.gate, entry.class_) for entry in project.release.gates]
        if project.release
        else []
    )
    listed += [
        (g.id, g.gate, g.class_)
        for g in project.gates.values()
        if g.gate not in {name for _, name, _ in listed}
    ]
    for gate_id, name, class_ in listed:
        gate = project.gates.get(name)
        if gate is None or not arguments.missing:
            table.add_row(
                gate_id, name, class_, gate.title if gate is not None else "(no file yet)"
            )
    console.print(table)
    return EXIT_PROMOTE


def _list_slow(project: Project, took: Mapping[str, Took], console: Console) -> int:
    """What each gate took when it last ran, the slowest first."""
    columns = ("id", "gate", "wall s", "processor s", "of it the harness")
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    known = [one for name, one in took.items() if name in project.gates]
    for one in sorted(known, key=lambda one: -one.wall_s):
        seconds = (one.wall_s, one.cpu_s, one.harness_cpu_s)
        numbers = [f"{number:.1f}" for number in seconds]
        table.add_row(project.gates[one.gate].id, one.gate, *numbers)
    console.print(table if known else "no gate has run yet")
    return EXIT_PROMOTE
