"""From the evidence of a session to its report, and to the release directory.

Everything that the report says is computed from files that are shipped beside it, see `stages.py`.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.errors import HarnessError
from chaos.evidence.sealing import seal
from gates.formats.printing import near
from gates.html import changes
from gates.release import ledger, rendered, waivers, wheel
from gates.release.closing import close
from gates.release.history import beside, reported
from gates.release.report import Report, prove_command, rerun_command, statuses_of
from gates.release.stages import Conclusion, judge_directory
from gates.release.stored import written
from gates.run.session import (
    Session,
    collected_of,
    digests_now,
    project_of,
    sources_of,
    tree_digest,
)
from gates.spec.frozen import FOLDER as SPECS
from gates.spec.project import Project


def conclude(
    session: Session, releases: Path, *, interrupted: bool, key: Path | None = None
) -> tuple[Report, Path]:
    """Seal, judge, report and attest; a full run replaces the release directory in one step.

    With a `key` what is attested is signed.
    """
    project = project_of(session.options.specs)
    whole = session.options.full and not interrupted and project.release is not None
    version = session.version_of(project.release.release) if project.release else "unreleased"
    staged = releases / f".{version}.{session.id}" if whole else session.path / "release"
    staged.mkdir(parents=True)
    final = releases / version if whole else staged
    _stage(staged, session, project, releases, final, interrupted=interrupted)
    if whole and session.decides:
        wheel.build_wheel(Path(session.root), staged)
    else:
        wheel.no_wheel(staged, "a wheel is built of what may be released only")
    judgement = judge_directory(staged)
    report = judgement.report
    if session.options.page and (base := changes.last_report(releases, report)) is not None:
        _write(staged / rendered.BASE, base)
    rendered.write(staged, judgement, drawn=session.options.page)
    close(staged, report, session, judgement.shipped.specs, key)
    if session.decides and project.release is not None:
        ledger.append(releases, _outcome(report, interrupted=interrupted), session.ledger)
    return report, _put_in_place(staged, final) if whole else staged


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


def _stage(
    staged: Path,
    session: Session,
    project: Project,
    releases: Path,
    final: Path,
    *,
    interrupted: bool,
) -> None:
    """Put all that the report is computed from into the release directory."""
    runs = sorted(path for path in (session.path / "gates").glob("*/*") if path.is_dir())
    seal(runs, staged / "evidence", collected_of(project.targets))
    shutil.copytree(session.path / SPECS, staged / SPECS)
    if (session.path / "proofs").is_dir():
        shutil.copytree(session.path / "proofs", staged / "proofs")
    for run in runs:
        if (run / "output").is_dir():
            shutil.copytree(run / "output", staged / "output" / run.parent.name / run.name)
    waivers.ship(project.specs, staged)
    rested_on = ledger.places(releases, session.ledger)[0]
    if rested_on.exists():
        shutil.copyfile(rested_on, staged / ledger.FILE)
    _write(staged / "session.json", session)
    _write(
        staged / "conclusion.json",
        _conclusion(session, project, releases, final, interrupted=interrupted),
    )


def _outcome(report: Report, *, interrupted: bool) -> ledger.Outcome:
    """What the ledger says of a run; of an interrupted one, gates that had not begun saw nothing."""
    return ledger.Outcome(
        session=report.session,
        verdict=report.verdict,
        statuses={
            gate.name: "SKIP" if interrupted and gate.run_id is None else gate.status
            for gate in report.gates
        },
    )


def _conclusion(
    session: Session, project: Project, releases: Path, final: Path, *, interrupted: bool
) -> Conclusion:
    return Conclusion(
        elapsed_s=time.time() - session.started_at_ms / 1000,
        interrupted=interrupted,
        inputs_after=_inputs_now(session, project),
        discontinued=ledger.discontinued(releases, session.ledger),
        reported=[*reported(releases), *beside(releases, session.ledger)],
        reruns={
            name: rerun_command(project.gates[name].id, _elsewhere(project))
            for name in session.gates
        },
        prove=prove_command(_elsewhere(project)),
        place=near(final),
        existing=sorted(project.gates),
    )


def _elsewhere(project: Project) -> str | None:
    """Where its specs are, None when they are those of a repository with nox."""
    root = project.root
    if project.specs == root / "specs" and (root / "noxfile.py").exists():
        return None
    inside = project.specs.is_relative_to(root)
    return str(project.specs.relative_to(root) if inside else project.specs)


def _inputs_now(session: Session, project: Project) -> dict[str, str]:
    """The digests of all inputs again; with defects the source is not the project's own."""
    digests = digests_now(project, session.toxiproxy)
    if session.mode == "healthy":
        return digests
    return digests | {"source": tree_digest(Path(session.root), sources_of(project))}


def _put_in_place(staged: Path, final: Path) -> Path:
    """Swap the directories: a reader sees the old release or the new one, never half of one."""
    if final.exists():
        old = staged.with_name(staged.name + ".old")
        final.rename(old)
        staged.rename(final)
        shutil.rmtree(old)
    else:
        staged.rename(final)
    return final


def _write(path: Path, value: object) -> None:
    path.write_bytes(written(value))
