"""`python -m gates baseline`: the release before this one, made again by giving the system its defects back."""

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from chaos.errors import HarnessError
from gates.commands.shared import Commands, add_command, add_releases, add_running
from gates.formats.console import print_report
from gates.prove.copies import apply, copy_sources
from gates.release.conclude import conclude, raise_disagreements
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE, Report
from gates.run.running import run_gates
from gates.run.session import Options, Session, exercise, open_session, sources_of, tree_digest
from gates.run.sound import sound_project
from gates.spec.gate import Defect
from gates.spec.project import Project
from gates.spec.release import Release

NAME = "baseline"
EXAMPLES = """\
Applies the defects that `baseline` in release.yaml names, one per gate, to a copy of the source, all at once, and runs
every gate against it. Exactly those gates must fail, and the floor must be intact: then the delta has been measured.
Writes releases/<version>-baseline/, which is never PROMOTE.

example:
  python -m gates baseline && python -m gates diff releases/v4.6.0-baseline releases/v4.6.0

exit codes:
  0  exactly the named gates fail
  1  something else does, or one of them does not
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "baseline", act, "run all gates against the system as it was", EXAMPLES
    )
    add_running(command)
    add_releases(command)


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Run all gates against the system with the defects of the baseline."""
    options = Options(
        specs=str(arguments.specs.resolve()), seed=arguments.seed, workers=arguments.workers
    )
    project = sound_project(options)
    if project.release is None:
        raise HarnessError("there is no release.yaml, so there is no baseline")
    defects = defects_of(project, project.release)
    opened = open_session(options, arguments.runs, lambda text: console.print(text, markup=False))
    with tempfile.TemporaryDirectory(prefix="gates-baseline-") as scratch:
        session = spoiled(opened, project, Path(scratch), list(defects.values()))
        exercise(session)
        verdicts, interrupted = run_gates(session, console, first=False)
        report, directory = conclude(session, arguments.releases, interrupted=interrupted)
    print_report(report, directory, console)
    raise_disagreements(verdicts, report)
    wrong = [*unexpected(report, set(defects))]
    for text in wrong:
        console.print(text, style="bold red", markup=False)
    if wrong or interrupted:
        return EXIT_FAILED
    named = ", ".join(sorted(defects))
    console.print(f"exit code 0 of this command: of all gates, exactly {named} fail", markup=False)
    return EXIT_PROMOTE


def defects_of(project: Project, release: Release) -> dict[str, Defect]:
    """The defects of the baseline by gate. HarnessError when one that is named is not there."""
    if not release.baseline:
        raise HarnessError("release.yaml names no `baseline`")
    defects = {}
    for name, wanted in release.baseline.items():
        gate = project.gates.get(name)
        found = [one for one in gate.falsified_by if one.defect == wanted] if gate else []
        if len(found) != 1:
            raise HarnessError(
                f"release.yaml names a baseline of {name}: {wanted!r} is no defect of it"
            )
        defects[name] = found[0]
    return defects


def spoiled(
    session: Session, project: Project, scratch: Path, defects: Sequence[Defect]
) -> Session:
    """The same session against a copy with all of these defects, written down for its workers."""
    sources = sources_of(project)
    copy_sources(Path(session.root), sources, scratch)
    assert project.release is not None
    contract = project.release.contract
    if (Path(session.root) / contract).is_file() and not (scratch / contract).exists():
        # What the live API is compared with is no source, and is looked for where the source is.
        (scratch / contract).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(session.root) / contract, scratch / contract)
    for defect in defects:
        apply(defect, scratch)
    changed: Mapping[str, object] = {
        "root": str(scratch),
        "mode": "defect",
        "defect": NAME,
        "dirty": True,
        "digests": {**session.digests, "source": tree_digest(scratch, sources)},
    }
    result = msgspec.structs.replace(session, **changed)
    result.save()
    return result


def unexpected(report: Report, named: set[str]) -> list[str]:
    """In what a report is not that of the baseline: each gate that should have come out otherwise."""
    ran = [gate for gate in report.gates if gate.status not in ("MISSING", "SKIP")]
    wrong = []
    for gate in ran:
        wanted = "FAIL" if gate.name in named else "PASS"
        if gate.status != wanted:
            wrong.append(f"{gate.id} {gate.name} is {gate.status}, not {wanted}: {gate.detail}")
    return wrong
