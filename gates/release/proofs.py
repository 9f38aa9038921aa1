"""The proofs of a release, computed again from the evidence that ships with them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.evidence.schema import RunRow
from chaos.faults import SIGNATURES
from gates.judge.abreast import abreast
from gates.judge.connection import Evidence, RunKey, open_release
from gates.judge.integrity import GATE_DIGEST, digests_of
from gates.judge.result import Finding, GateVerdict
from gates.judge.verdict import judge_gate
from gates.prove.copies import diff_of
from gates.prove.evaluate import GateProof, Proofs, Trial, evaluate
from gates.release import wheel
from gates.release.own_runs import unlike
from gates.release.report import Made, timestamp_of
from gates.release.specs import TARGET_DIGEST, Specs, read_specs
from gates.release.stored import read
from gates.run.session import Session, collected_of
from gates.spec.assertion import Judged
from gates.spec.edits import StaleError, edited, encoded
from gates.spec.gate import Defect, Gate
from gates.spec.snapshot import sha256_of
from gates.spec.sources import decoded

FOLDER = "proofs"
FILE = "proofs.json"
MODES: Mapping[str, str] = {"control": "healthy", "defect": "defect", "sham": "sham"}
SOURCE_DIGEST = "source"
OWN_DIGESTS = frozenset({GATE_DIGEST, TARGET_DIGEST, SOURCE_DIGEST})
"""What a run records of its own; all other digests are those of the session."""


class Shipped(Struct, frozen=True, kw_only=True):
    """What proofs are judged against: the session, its specs, and the files of its wheel where there is one."""

    session: Session
    specs: Specs
    files: Mapping[str, bytes] | None


class Proven(Struct, frozen=True, kw_only=True):
    """The proof of a gate, with when and where its runs were made: by defect, `sham` and `control`."""

    proof: GateProof
    made: dict[str, Made]


def stored_proofs(directory: Path) -> Proofs:
    """`proofs.json` of a release, without trials where none were shipped; HarnessError when it cannot be read."""
    path = directory / FOLDER / FILE
    if not path.exists():
        return Proofs(session="", trials=[], stale={})
    return read(path, Proofs)


def trials_in(directory: Path) -> frozenset[str]:
    """The ids of the runs of its proofs."""
    return frozenset(trial.run_id for trial in stored_proofs(directory).trials)


def wheel_files(directory: Path) -> dict[str, bytes] | None:
    """The files of the wheel of a release, or None when it has none that is what was run."""
    build = wheel.build_of(directory)
    return wheel.contents(directory / wheel.FOLDER / build.wheel) if build.wheel else None


def shipped_in(directory: Path, session: Session) -> Shipped:
    """What lies in a release directory beside its proofs."""
    return Shipped(
        session=session,
        specs=read_specs(directory),
        files=wheel_files(directory),
    )


def opened(directory: Path, shipped: Shipped) -> Evidence | None:
    """The evidence of the proofs of a release; None where none were shipped."""
    if not (directory / FOLDER).exists():
        return None
    return open_release(directory / FOLDER / "evidence", collected_of(shipped.specs.targets))


def proofs_again(directory: Path, evidence: Evidence | None, shipped: Shipped) -> dict[str, Proven]:
    """The proof of every gate of the session, from nothing but the evidence."""
    stored = stored_proofs(directory)
    trials: dict[str, list[tuple[Trial, GateVerdict]]] = {name: [] for name in shipped.specs.gates}
    made: dict[str, dict[str, Made]] = {name: {} for name in shipped.specs.gates}
    used: set[RunKey] = set()
    runs = {record.key: record.run for record in evidence.runs()} if evidence is not None else {}
    for trial, verdict in _verdicts(evidence, stored.trials, shipped.specs):
        key = (trial.run_id, trial.gate)
        run = runs.get(key)
        wrong = [*_wrong(trial, run, shipped)]
        if key in used:
            wrong.append("its run is used twice")
        used.add(key)
        trials[trial.gate].append((trial, _doubted(verdict, wrong)))
        if run is not None:
            made[trial.gate].setdefault(trial.defect or trial.kind, _made(run))
    return {
        name: Proven(
            proof=_evaluated(
                gate, shipped.specs.judged[name], trials[name], stored.stale.get(name, {})
            ),
            made=made[name],
        )
        for name, gate in shipped.specs.gates.items()
    }


def _verdicts(
    evidence: Evidence | None, trials: Iterable[Trial], specs: Specs
) -> list[tuple[Trial, GateVerdict]]:
    """What comes of each trial of a gate that is shipped."""

    def judge(own: Evidence, trial: Trial) -> tuple[Trial, GateVerdict]:
        return trial, judge_gate(own, specs.judged[trial.gate], SIGNATURES, trial.run_id)

    known = [each for each in trials if each.gate in specs.gates and each.gate in specs.judged]
    return abreast(evidence, known, judge) if evidence is not None else []


def _made(run: RunRow) -> Made:
    return Made(at=timestamp_of(run.epoch_ms), host=run.host)


def _evaluated(
    gate: Gate,
    judged: Judged,
    trials: list[tuple[Trial, GateVerdict]],
    stale: Mapping[str, str],
) -> GateProof:
    return evaluate(
        gate.gate,
        [assertion.that for assertion in gate.assert_],
        [assertion.that for assertion in gate.assert_ if assertion.killed_by_sham],
        gate.falsified_by,
        trials,
        needs_sham=bool(judged.faults),
        stale=stale,
    )


def _doubted(verdict: GateVerdict, wrong: list[str]) -> GateVerdict:
    """A verdict on a run that is not what it is said to be proves nothing."""
    if not wrong:
        return verdict
    findings = [Finding("UNKNOWN", "trial", text) for text in wrong]
    return msgspec.structs.replace(
        verdict, status="UNKNOWN", detail="; ".join(wrong), findings=[*findings, *verdict.findings]
    )


def _wrong(trial: Trial, run: RunRow | None, shipped: Shipped) -> Iterator[str]:
    """In what a run is not the trial that it is said to be."""
    if run is None:
        return
    if run.mode != MODES[trial.kind] or run.defect != trial.defect or run.seed != trial.seed:
        yield f"it was run as {run.mode} {run.defect or ''} with seed {run.seed}"
    digests = digests_of(run)
    for name, digest in shipped.session.digests.items():
        if name not in OWN_DIGESTS and digests.get(name) != digest:
            yield f"its {name} is not that of the session"
    if msgspec.json.decode(run.versions) != shipped.session.versions:
        yield "it was run with other versions than the session"
    yield from unlike(run, shipped.specs.gates[trial.gate])
    target = shipped.specs.targets.get(run.target)
    if target is None or digests.get(TARGET_DIGEST) != sha256_of(target):
        yield "its target is not the one that was shipped"
        return
    yield from _wrong_source(trial, digests.get(SOURCE_DIGEST, ""), target.source, shipped)


def _wrong_source(trial: Trial, digest: str, folders: list[str], shipped: Shipped) -> Iterator[str]:
    healthy = shipped.session.digests.get(SOURCE_DIGEST)
    comparable = folders == shipped.specs.sources()
    if trial.kind != "defect":
        if comparable and digest != healthy:
            yield "its copy is not the source that was run"
        return
    if comparable and digest == healthy:
        yield "its copy has no edit"
    defects = {one.defect: one for one in shipped.specs.gates[trial.gate].falsified_by}
    if trial.defect not in defects:
        yield f"the gate names no defect {trial.defect!r}"
    elif shipped.files is not None:
        yield from _wrong_edit(trial, digest, folders, defects[trial.defect], shipped.files)


def _wrong_edit(
    trial: Trial, digest: str, folders: list[str], defect: Defect, files: Mapping[str, bytes]
) -> Iterator[str]:
    """The defect, applied to the wheel's own files, must give the source that the trial ran."""
    if defect.file not in files:
        return
    before, encoding = decoded(files[defect.file])
    try:
        after = edited(defect, before)
        content = encoded(defect, after, encoding)
    except StaleError as stale:
        yield f"its defect is {stale.why}"
        return
    if trial.diff != diff_of(defect.file, before, after):
        yield "the diff is not that of its defect"
    if wheel.source_digest({**files, defect.file: content}, folders) != digest:
        yield "its copy is not the wheel's source with this defect"
