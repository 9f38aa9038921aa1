"""`python -m gates prove`: tries every defect and sham, and says which gates are proven able to fail."""

import argparse

from rich.console import Console

from gates.commands.shared import (
    Commands,
    add_choice,
    add_command,
    add_store,
    store_of,
    trial_options_of,
)
from gates.formats.console import print_proofs
from gates.prove.proving import carry_out, evaluated
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.run.session import exercise, open_session
from gates.run.sound import sound_project

EXAMPLES = """\
Every defect in `falsified_by` is applied to a copy of the source, and must turn exactly its assertions red;
of faults there is a sham, the same window with nothing injected, and something must fail then. Trials are kept until an input changes: an interrupted
proof goes on where it stopped, and `run` takes them up and ships them with the release.

examples:
  python -m gates prove                      all gates
  python -m gates prove A3                   one gate
  python -m gates prove A3 --again           all of its trials anew
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "prove",
        act,
        "show that gates can fail: run their defects and shams",
        EXAMPLES,
    )
    add_choice(command)
    command.add_argument("--again", action="store_true", help="make all trials anew")
    add_store(command)


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Prove the chosen gates; exit 1 when one is not proven."""
    options = trial_options_of(arguments)
    project = sound_project(options)
    session = open_session(options, arguments.runs, lambda text: console.print(text, markup=False))
    exercise(session)
    store = store_of(arguments)
    try:
        done = carry_out(session, project, store, console, again=arguments.again)
    except KeyboardInterrupt:
        console.print("what was finished is kept: the same command goes on where this one stopped")
        raise
    proofs = evaluated(session, project, [(item.trial, item.verdict) for item in done])
    print_proofs(proofs, project, console)
    console.print(f"trials: {store.directory}", markup=False)
    unproven = [project.gates[gate.gate].id for gate in proofs if not gate.proven]
    if unproven:
        console.print(f"exit code {EXIT_FAILED}: unproven are {', '.join(unproven)}", markup=False)
    return EXIT_FAILED if unproven else EXIT_PROMOTE
