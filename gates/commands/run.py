"""`python -m gates run`: runs gates, judges them, writes the report and says the verdict."""

import argparse
import shutil
from pathlib import Path
from typing import Literal

import duckdb
from rich.console import Console

from chaos.errors import ChaosError, HarnessError
from gates.commands.shared import (
    Commands,
    add_choice,
    add_command,
    add_releases,
    add_store,
    positive,
    store_of,
)
from gates.formats.console import counted, print_proofs, print_report
from gates.formats.printing import near
from gates.judge.connection import message_of
from gates.prove.kept import FOLDER
from gates.prove.proving import carry_out, evaluated, kept_of, ship
from gates.release import ledger, signing
from gates.release.conclude import conclude, raise_disagreements
from gates.release.report import EXIT_PROMOTE, EXIT_UNKNOWN, Report
from gates.run.running import run_gates
from gates.run.session import Options, Session, exercise, open_session, prune
from gates.run.sound import sound_project
from gates.run.store import Store
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of

KEEP_SESSIONS = 20
EXAMPLES = """\
examples:
  python -m gates run                        all gates; writes releases/<version>/ and says PROMOTE or HOLD
  python -m gates run C4 key-rotation        some, by id or name; writes below runs/ and decides no release
  python -m gates run A3 --repeat 20         is it stable? twenty runs, their verdicts and durations
  python -m gates run --prove --key KEY      all gates with their proofs, signed: what a release needs
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "run", act, "run gates, write the report, say the verdict", EXAMPLES
    )
    add_choice(command)
    part = command.add_mutually_exclusive_group()
    part.add_argument("--floor-only", action="store_true", help="only the floor; never PROMOTE")
    part.add_argument("--delta-only", action="store_true", help="only the delta; never PROMOTE")
    command.add_argument(
        "--repeat", type=positive, default=1, metavar="N", help="run each gate N times"
    )
    command.add_argument(
        "--keep", action="store_true", help="leave the state directories and say where they are"
    )
    command.add_argument(
        "--allow-missing",
        action="store_true",
        help="exit 0 when all that was run passed, though gates are missing; the report still says HOLD",
    )
    command.add_argument(
        "--no-page",
        action="store_true",
        help="draw no gate-report.html; `report --format html` draws it later",
    )
    command.add_argument(
        "-k", dest="expression", default=None, metavar="EXPR", help="pytest's -k, on ids and names"
    )
    command.add_argument(
        "-x", dest="first", action="store_true", help="stop at the first gate that does not pass"
    )
    add_releases(command)
    command.add_argument(
        "--ledger",
        type=Path,
        default=None,
        metavar="FILE",
        help="a ledger of attempts that outlives this machine, such as one on a share: what failed elsewhere counts"
        " (default: attempts.jsonl below --releases, which knows this machine only)",
    )
    command.add_argument(
        "--prove",
        action="store_true",
        help="make the trials of proofs that are missing as well; without proofs a release holds",
    )
    add_store(command)
    command.add_argument(
        "--key", type=Path, default=None, metavar="FILE", help="sign what is attested with this key"
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Run gates and, with `--prove`, their proofs; judge them, write the report, print the verdict."""
    if arguments.key is not None:
        # Before anything runs: a release that cannot be signed in the end would have to be run again.
        signing.read_private(arguments.key)
    options = options_of(arguments)
    if arguments.ledger is not None:
        ledger.raise_unusable(arguments.ledger)
    project = sound_project(options)
    prune(arguments.runs, KEEP_SESSIONS)
    session = open_session(options, arguments.runs, lambda text: console.print(text, markup=False))
    if not session.gates:
        raise HarnessError("no gate was chosen, so nothing would be measured")
    if options.full and project.release is not None:
        ledger.append(
            arguments.releases,
            ledger.Attempt(
                session=session.id,
                at_ms=session.started_at_ms,
                inputs=session.inputs,
                release=project.release.release,
                gates={name: sha256_of(project.gates[name]) for name in session.gates},
            ),
            session.ledger,
        )
    console.print(
        f"{counted(len(session.gates), 'gate')}, {counted(options.workers, 'worker')},"
        f" recording below {near(session.path)}",
        markup=False,
    )
    exercise(session)
    verdicts, interrupted = run_gates(session, console, first=arguments.first)
    if not interrupted:
        proofs = _prove if arguments.prove else _take_up
        interrupted = proofs(store_of(arguments), session, project, console)
    report, directory = _concluded(
        session, arguments.releases, interrupted=interrupted, key=arguments.key
    )
    print_report(report, directory, console)
    raise_disagreements(verdicts, report)
    code = exit_code(report, allow_missing=options.allow_missing)
    if code != report.exit_code:
        console.print(
            f"exit code {code} of this command: all that was run passed (--allow-missing)"
        )
    return code


def _prove(store: Store, session: Session, project: Project, console: Console) -> bool:
    """Make the trials that are missing, ship all; returns whether that was interrupted."""
    try:
        done = carry_out(session, project, store, console, again=False)
    except KeyboardInterrupt:
        return True
    except (ChaosError, OSError) as error:
        console.print(f"the proofs could not be run: {error}", markup=False)
    else:
        tried = [(item.trial, item.verdict) for item in done]
        print_proofs(evaluated(session, project, tried), project, console)
    _ship(store, session, project, console)
    return False


def _take_up(store: Store, session: Session, project: Project, console: Console) -> bool:
    """Ship the trials that were made before at the inputs of a release; it is not interrupted by that."""
    if session.decides:
        _ship(store, session, project, console)
    return False


def _ship(store: Store, session: Session, project: Project, console: Console) -> None:
    out = session.path / FOLDER
    try:
        ship(kept_of(session, project, store), session, project, out)
    except (ChaosError, OSError, duckdb.Error) as error:
        console.print(f"the proofs could not be shipped: {error}", markup=False)
        shutil.rmtree(out, ignore_errors=True)


def _concluded(
    session: Session, releases: Path, *, interrupted: bool, key: Path | None
) -> tuple[Report, Path]:
    try:
        return conclude(session, releases, interrupted=interrupted, key=key)
    except (OSError, duckdb.Error) as error:
        reason = message_of(error) if isinstance(error, duckdb.Error) else str(error)
        raise HarnessError(
            f"the evidence could not be sealed and judged: {reason}\n"
            f"what was recorded is below {near(session.path)}"
        ) from error


def exit_code(report: Report, *, allow_missing: bool) -> int:
    """The report's own code; with `allow_missing` 0 when all that was run passed."""
    if report.exit_code == EXIT_UNKNOWN and allow_missing:
        ran = [gate for gate in report.gates if gate.status not in ("MISSING", "SKIP")]
        if ran and all(gate.status == "PASS" for gate in ran):
            return EXIT_PROMOTE
    return report.exit_code


def options_of(arguments: argparse.Namespace) -> Options:
    """The options of a run as its session records them."""
    part: Literal["all", "floor", "delta"] = "all"
    if arguments.floor_only or arguments.delta_only:
        part = "floor" if arguments.floor_only else "delta"
    return Options(
        specs=str(arguments.specs.resolve()),
        only=tuple(arguments.only),
        part=part,
        expression=arguments.expression,
        repeat=arguments.repeat,
        seed=arguments.seed,
        keep=arguments.keep,
        workers=arguments.workers,
        allow_missing=arguments.allow_missing,
        page=not arguments.no_page,
        ledger=str(arguments.ledger.resolve()) if arguments.ledger is not None else None,
    )
