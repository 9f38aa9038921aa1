"""What each command of `python -m gates` does."""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from chaos.errors import HarnessError, Problem, SpecError, errors_among
from gates.formats.console import counted, print_report
from gates.formats.explain import brief, in_full
from gates.judge.connection import message_of
from gates.lint.files import problems_in
from gates.lint.gate import lint as all_problems
from gates.release import ledger
from gates.release.conclude import conclude
from gates.release.rejudge import rejudge
from gates.release.report import (
    EXIT_FAILED,
    EXIT_PROMOTE,
    EXIT_UNKNOWN,
    Report,
    statuses_of,
)
from gates.run.durations import Took, last_runs
from gates.run.running import gate_runs
from gates.run.session import Options, Session, chosen, exercise, open_session, project_of, prune
from gates.run.tasks import spread
from gates.spec import schemas
from gates.spec.project import GATES, Project, read_project
from gates.spec.snapshot import sha256_of
from gates.spec.template import TEMPLATE

KEEP_SESSIONS = 20

Prove: TypeAlias = Callable[[Session, Project, Console], bool]
"""Leaves the proofs of a session's gates in its directory, to be shipped; returns whether it was interrupted."""


def run(arguments: argparse.Namespace, console: Console, prove: Prove | None = None) -> int:
    """Run gates and, with `prove`, their proofs; judge them, write the report, print the verdict."""
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
        f" recording below {_near(session.path)}",
        markup=False,
    )
    exercise(session)
    verdicts, interrupted = run_items(session, console, first=arguments.first)
    if prove is not None and not interrupted:
        interrupted = prove(session, project, console)
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


def _concluded(
    session: Session, releases: Path, *, interrupted: bool, key: Path | None
) -> tuple[Report, Path]:
    try:
        return conclude(session, releases, interrupted=interrupted, key=key)
    except (OSError, duckdb.Error) as error:
        reason = message_of(error) if isinstance(error, duckdb.Error) else str(error)
        raise HarnessError(
            f"the evidence could not be sealed and judged: {reason}\n"
            f"what was recorded is below {_near(session.path)}"
        ) from error


def raise_disagreements(first: Mapping[str, Sequence[str]], report: Report) -> None:
    """HarnessError when a run was judged otherwise right afterwards than from the sealed evidence.

    `first` are the verdicts right after the runs, by gate.
    """
    differing = []
    for name, verdicts in first.items():
        again = [
            status for gate in report.gates if gate.name == name for status in statuses_of(gate)
        ]
        if Counter(verdicts) - Counter(again):
            differing.append(f"{name}: {', '.join(verdicts)}, then {', '.join(again)}")
    if differing:
        raise HarnessError(
            "the same evidence was judged in two ways, so neither verdict can be relied on; right after"
            " the run, then from the sealed tables:\n" + "\n".join(differing)
        )


def exit_code(report: Report, *, allow_missing: bool) -> int:
    """The report's own code; with `allow_missing` 0 when all that was run passed."""
    if report.exit_code == EXIT_UNKNOWN and allow_missing:
        ran = [gate for gate in report.gates if gate.status not in ("MISSING", "SKIP")]
        if ran and all(gate.status == "PASS" for gate in ran):
            return EXIT_PROMOTE
    return report.exit_code


def lint(arguments: argparse.Namespace, console: Console) -> int:
    """Print every problem of the specs, or only those of some files; warnings alone are no reason to fail."""
    project = read_project(arguments.specs)
    problems = all_problems(project)
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


def schema(arguments: argparse.Namespace, console: Console) -> int:
    """Write the JSON Schemas, or say which are out of date."""
    directory = arguments.specs / "schema"
    if arguments.check:
        stale = schemas.stale(directory)
        for path in stale:
            console.print(f"{path} is out of date: run `python -m gates schema`", markup=False)
        return EXIT_FAILED if stale else EXIT_PROMOTE
    for path in schemas.write_schemas(directory):
        console.print(f"wrote {path}", markup=False)
    return EXIT_PROMOTE


def explain(arguments: argparse.Namespace, console: Console) -> int:
    """Print a gate in prose."""
    project = read_project(arguments.specs)
    name = project.gate_by(arguments.gate)
    if name is None:
        project.raise_problems()
        raise HarnessError(f"{arguments.gate!r} is not a gate; `python -m gates list` shows all")
    gate = project.gates[name]
    if gate.target not in project.targets:
        project.raise_problems()
        raise HarnessError(f"there is no target {gate.target!r}")
    lines = in_full(gate, project.targets[gate.target]) if arguments.full else brief(gate)
    text = "\n".join(lines)
    console.print(Markdown(text) if console.is_terminal else text, markup=False)
    return EXIT_PROMOTE


def list_gates(arguments: argparse.Namespace, console: Console) -> int:
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


def new(arguments: argparse.Namespace, console: Console) -> int:
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


def judge(arguments: argparse.Namespace, console: Console) -> int:
    """Recompute all verdicts of a release from its evidence; differences from its report are failures."""
    again, differences = rejudge(arguments.release)
    recomputed = again.report
    print_report(recomputed, arguments.release, console)
    for difference in differences:
        console.print(
            f"differs from gate-report.json: {difference}", style="bold red", markup=False
        )
    return EXIT_FAILED if differences else recomputed.exit_code


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


def trial_options_of(arguments: argparse.Namespace) -> Options:
    """The same of a command that runs gates only in edited copies: which ones, the seed, the workers."""
    return Options(
        specs=str(arguments.specs.resolve()),
        only=tuple(arguments.only),
        seed=arguments.seed,
        workers=arguments.workers,
    )


def sound_project(options: Options) -> Project:
    """The project, or SpecError: of a partial run only what is wrong with the gates that were chosen.

    Warnings stop nothing; `lint` tells them.
    """
    project = project_of(options.specs)
    problems: Sequence[Problem] = errors_among(all_problems(project))
    if not options.full:
        problems = _of_chosen(project, options, problems)
    if problems:
        raise SpecError(problems)
    return project


def _of_chosen(
    project: Project, options: Options, problems: Sequence[Problem]
) -> Sequence[Problem]:
    """The problems that a run of some gates would meet: those of other gates are none of its business."""
    try:
        own = {project.files[name] for name in chosen(project, options)}
    except HarnessError:
        # What is no gate may be one that could not be read.
        unread = _unread(project, options, problems)
        if unread:
            return unread
        raise
    gates = project.specs / GATES
    return [
        problem
        for problem in problems
        if (path := Path(problem.file).resolve()) in own or not path.is_relative_to(gates)
    ]


def _unread(project: Project, options: Options, problems: Sequence[Problem]) -> list[Problem]:
    """The problems of files that hold a gate which was asked for and could not be read.

    A file is named like its gate; an id that nothing lists may be that of any.
    """
    listed = project.release.gates if project.release is not None else []
    names = {gate.id: gate.gate for gate in listed}
    known = {*names, *names.values()}
    missing = {names.get(one, one) for one in options.only if project.gate_by(one) is None}
    read = {path.resolve() for path in project.files.values()}
    unread = [
        problem
        for problem in problems
        if (path := Path(problem.file).resolve()) not in read
        and path.is_relative_to(project.specs / GATES)
    ]
    named = [problem for problem in unread if Path(problem.file).stem in missing]
    return named or (unread if missing - known else [])


def run_items(
    session: Session, console: Console, *, first: bool
) -> tuple[dict[str, list[str]], bool]:
    """Run the session's gates, with `first` until one does not pass.

    Returns by gate how its runs were judged right afterwards, and whether it was interrupted.
    """
    runs = gate_runs(session)
    done = spread(session, runs, console, expression=session.options.expression, first=first)
    verdicts: dict[str, list[str]] = {}
    for run, attempts in zip(runs, done.results, strict=True):
        if attempts is not None:
            verdicts.setdefault(run.gate, []).extend(verdict.status for verdict in attempts)
    return verdicts, done.interrupted


def _near(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
