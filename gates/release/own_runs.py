"""Whether the runs in a release are its session's own: of its gates and inputs, as planned, and no earlier ones.

Evidence of another gate, target, seed or day can be whole in itself and pass every other check.
"""

from collections.abc import Container, Iterator

from chaos.engine.plan import CONTROL, SCENARIO, walk
from chaos.evidence.schema import RunRow
from gates.judge.connection import Evidence
from gates.judge.integrity import digests_of
from gates.release.specs import Specs
from gates.run.session import Session, exercise_name
from gates.spec.gate import Gate


def strangers(
    evidence: Evidence, session: Session, specs: Specs, trials: Container[str]
) -> list[str]:
    """In what the runs of a release are not those of its session, one text per run and reason.

    `trials` are the ids of the runs of its proofs: a copy that went well is not the system.
    """
    return [
        f"{record.run.gate}: {text}"
        for record in evidence.runs()
        for text in _strange(record.run, session, specs, trials)
    ]


def _strange(run: RunRow, session: Session, specs: Specs, trials: Container[str]) -> Iterator[str]:
    if run.run_id in trials:
        yield "it is a run of the proofs"
    if run.epoch_ms < session.started_at_ms:
        yield "it was run before this session began"
    first = session.options.seed
    if run.seed not in range(first, first + session.options.repeat):
        yield f"it was run with seed {run.seed}, not {first}"
    digests = digests_of(run)
    for name in sorted(session.digests.keys() - digests.keys()):
        yield f"it did not record its {name}"
    gate = specs.gates.get(run.gate)
    if gate is not None:
        yield from unlike(run, gate)
    elif run.target not in specs.targets or run.gate != exercise_name(run.target):
        yield "no gate of this session is called so"


def unlike(run: RunRow, gate: Gate) -> Iterator[str]:
    """In what a run is not one of this gate: its target, and the steps that it set out to do."""
    if run.target != gate.target:
        yield f"it was run on {run.target}, not on {gate.target}"
    if run.planned != planned_steps(gate):
        yield "it set out to do other steps than the gate has"


def planned_steps(gate: Gate) -> list[str]:
    """The ids of all steps of a gate, as its run must have planned them."""
    written = ((CONTROL, gate.control), (SCENARIO, gate.scenario))
    return [step_id for prefix, steps in written for step_id, _ in walk(tuple(steps), prefix)]
