"""`python -m gates mutants`: how many small changes of the system its gates notice, or its tests."""

import argparse
import importlib.util
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console

from chaos.errors import HarnessError
from gates.commands.shared import (
    Commands,
    add_choice,
    add_command,
    positive,
    trial_options_of,
)
from gates.mutants.asking import FOLDER, MOST, Asking
from gates.mutants.by_gates import ByGates
from gates.mutants.by_tests import ByTests
from gates.mutants.drawing import Drawn, Killers, Modules
from gates.mutants.equivalent import Equivalent, read_equivalents, reviewed
from gates.mutants.evaluate import Result, result_of, tallies, tally
from gates.mutants.report import MutantReport, is_enough, print_mutants
from gates.mutants.sample import sample
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.run.session import Session, open_session
from gates.run.sound import sound_project
from gates.run.store import Store

EXAMPLES = f"""\
Each mutant is the source with one small change. A gate's are drawn where its `guards` say that its claim is implemented,
and are run against that gate. All other code is the tests' business: with --tests, mutants of it are run against the
tests that execute the changed line, the quickest that are most about it first, until one fails. What is finished is not
run again until an input changes.

examples:
  python -m gates mutants                    {ByGates.enough} of each gate
  python -m gates mutants A3 --sample 30     of one gate
  python -m gates mutants --tests            {ByTests.enough} of what no gate guards, against the tests
  python -m gates mutants A3 --file service/auth/roles.py --list
                                             which ones there are in one module
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "mutants",
        act,
        "how many small changes of the system its gates notice, or its tests",
        EXAMPLES,
    )
    add_choice(command)
    command.add_argument(
        "--tests",
        type=Path,
        nargs="*",
        default=None,
        metavar="PATH",
        help="ask tests about what no gate guards (default: those in the folder of `tests` that is called like the source)",
    )
    command.add_argument(
        "--sample",
        type=positive,
        default=None,
        metavar="N",
        help=f"run N of each (default: {ByGates.enough} of a gate, {ByTests.enough} of the tests)",
    )
    command.add_argument(
        "--file",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="only in these modules, from the project's root",
    )
    command.add_argument(
        "--least",
        type=_share,
        default=None,
        metavar="SHARE",
        help="exit 1 when fewer of any are killed, equivalents left out"
        f" (default: {ByGates.least} of a gate, {ByTests.least} of the tests)",
    )
    command.add_argument("--list", action="store_true", help="only say which would be run")
    command.add_argument("--no-cache", action="store_true", help="run everything again")
    command.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write the JSON there, too"
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Run mutants; exit 1 when a killer noticed a smaller share than was asked for."""
    if importlib.util.find_spec("coverage") is None:
        raise HarnessError("mutants need coverage.py in this environment: run `nox -s mutants`")
    if arguments.tests is not None and arguments.only:
        raise HarnessError("--tests asks the tests, so it takes no gate")
    work = _prepared(arguments, console)
    drawn = work.killers.drawn()
    size = arguments.sample or work.killers.enough
    chosen = [
        (each.killer, mutation)
        for each in drawn
        for mutation in sample(each.reached, size, arguments.seed)
    ]
    found = work.modules.all()
    if arguments.list:
        for name, one in chosen:
            line = f"{name} {one.file}:{one.line} {one.operator} {one.sha256[:12]}"
            console.print(line, markup=False)
        return EXIT_PROMOTE
    known = reviewed([each for each in work.entries if each.file in work.modules.files], found)
    findings = work.killers.attacks(chosen)
    results = [
        result_of(name, one, finding, known.reasons)
        for (name, one), finding in zip(chosen, findings, strict=True)
    ]
    least = work.killers.least if arguments.least is None else arguments.least
    report = report_of(
        work.session,
        results,
        drawn,
        by="gates" if arguments.tests is None else "tests",
        sample=size,
        files=[str(path) for path in arguments.file],
        least=least,
        stale=known.stale,
    )
    out = _write(report, work, arguments.output)
    print_mutants(report, work.store.find(_last(_OTHER[report.by]), MutantReport), console)
    console.print(f"mutants: {out}", markup=False)
    return EXIT_PROMOTE if report.enough else EXIT_FAILED


def report_of(
    session: Session,
    results: Sequence[Result],
    drawn: Sequence[Drawn],
    *,
    by: str,
    sample: int,
    files: list[str],
    least: float,
    stale: list[str],
) -> MutantReport:
    """Everything counted, over the mutations that could have been drawn."""
    possible = [each for one in drawn for each in one.possible]
    unreached = [each for one in drawn for each in one.unreached]
    killers = tallies(
        results, {one.killer: len(one.unreached) for one in drawn}, lambda result: result.killer
    )
    return MutantReport(
        by=by,
        session=session.id,
        commit=session.commit,
        dirty=session.dirty,
        seed=session.options.seed,
        sample=sample,
        files=files,
        least=least,
        enough=all(is_enough(each, least) for each in killers.values()),
        total=tally(results, len(unreached)),
        killers=killers,
        modules=tallies(
            results,
            _counts((each.file for each in possible), (each.file for each in unreached)),
            lambda result: result.file,
        ),
        operators=tallies(
            results,
            _counts((each.operator for each in possible), (each.operator for each in unreached)),
            lambda result: result.operator,
        ),
        stale=stale,
        refuted=[
            f"{result.file}: {result.sha256}"
            for result in results
            if result.equivalent is not None and result.outcome == "killed"
        ],
        mutants=list(results),
    )


class _Work(Struct, frozen=True, kw_only=True):
    """What a session's mutants are drawn from and run against."""

    session: Session
    modules: Modules
    killers: Killers
    entries: list[Equivalent]
    store: Store


_OTHER = {"gates": "tests", "tests": "gates"}


def _prepared(arguments: argparse.Namespace, console: Console) -> _Work:
    options = trial_options_of(arguments)
    project = sound_project(options)
    entries = read_equivalents(project.specs)
    session = open_session(options, arguments.runs, lambda text: console.print(text, markup=False))
    modules = Modules(project.root, arguments.file)
    store = Store(arguments.runs.resolve() / FOLDER)
    asking = Asking(session, store, arguments.no_cache, console)
    killers: Killers
    if arguments.tests is None:
        killers = ByGates(asking, project, modules)
    else:
        killers = ByTests(asking, project, modules, arguments.tests)
    return _Work(session=session, modules=modules, killers=killers, entries=entries, store=store)


def _write(report: MutantReport, work: _Work, output: Path | None) -> Path:
    """Write `mutants.json` beside the session's evidence, and where else it is wanted."""
    data = msgspec.json.format(msgspec.json.encode(report))
    out = work.session.path / FOLDER / "mutants.json"
    out.parent.mkdir(exist_ok=True)
    for path in (out, *([output] if output is not None else [])):
        path.write_bytes(data)
    with work.store.making() as place:
        work.store.keep(_last(report.by), place, report)
    work.store.prune(MOST)
    return out


def _last(by: str) -> str:
    """Under what the last report of the gates or of the tests is kept."""
    return f"last-{by}"


def _counts(names: Iterable[str], unreached: Iterable[str]) -> dict[str, int]:
    """How many of each are unreached, for all names there are."""
    of_name = Counter(unreached)
    return {name: of_name[name] for name in sorted(set(names))}


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, not {text!r}")
    return value
