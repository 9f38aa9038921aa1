"""`python -m gates new`: a skeleton to begin with."""

import argparse
import os

from rich.console import Console

from chaos.errors import HarnessError
from gates.commands.shared import Commands, add_command
from gates.release.report import EXIT_PROMOTE
from gates.spec.project import read_project
from gates.spec.template import TEMPLATE


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "new", act, "write a commented skeleton")
    command.add_argument("what", choices=["gate"])
    command.add_argument("name", help="its name; the file is named like it")


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Write the skeleton of a gate where its class and epic belong."""
    project = read_project(arguments.specs)
    name = arguments.name
    listed = (
        {entry.gate: entry for entry in project.release.gates}
        if project.release is not None
        else {}
    )
    entry = listed.get(name)
    if project.release is not None and entry is None:
        raise HarnessError(f"release.yaml lists no gate {name!r}: add it there first")
    floor = entry is not None and entry.class_ == "floor"
    epic = "" if floor or entry is None else entry.id[0]
    folder = (
        "gates"
        if entry is None
        else f"gates/floor/{entry.since}"
        if floor
        else f"gates/delta/{epic.lower()}"
    )
    path = arguments.specs / folder / f"{name}.yaml"
    if path.exists():
        raise HarnessError(f"{path} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    target = (
        project.release.target
        if project.release is not None
        else next(iter(project.targets), "TARGET")
    )
    known = project.targets.get(target)
    path.write_text(
        TEMPLATE.format(
            schema=os.path.relpath(arguments.specs / "schema" / "gate.schema.json", path.parent),
            name=name,
            id=entry.id if entry is not None else "X1",
            class_=entry.class_ if entry is not None else "delta",
            epic=epic or '""',
            target=target,
            needs=known.default_process() if known is not None else "",
        )
    )
    console.print(f"wrote {path}", markup=False)
    return EXIT_PROMOTE
