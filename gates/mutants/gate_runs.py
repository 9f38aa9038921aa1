"""Runs gates against copies: once as they are, to see which lines each executes, and once per mutant.

Evidence is not kept.
"""

import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.engine.plan import CONTROL
from chaos.evidence.schema import Step
from gates.judge.result import GateVerdict
from gates.mutants.evaluate import Finding, outcome_of_gate
from gates.mutants.mutations import Mutation, mutate
from gates.mutants.store import keep
from gates.mutants.watched import OUT, ROOT, SHIM, Lines
from gates.prove.copied import Copy, carry_out, judged, plan_in
from gates.prove.copies import copy_sources
from gates.run.bytecode import compile_sources
from gates.run.session import Session, load_session, project_of
from gates.spec.project import Project

LIMIT_S = 30.0
LIMIT_FACTOR = 4.0
"""A gate's run against a mutant may take this many times as long as the healthy one, and `LIMIT_S` more."""


class Reach(Struct, frozen=True, kw_only=True):
    """A gate's run against the system as it is: the lines it executed, by file, and how long it took."""

    gate: str
    status: str
    detail: str
    seconds: float
    lines: Lines


class Measuring(Struct, frozen=True, kw_only=True):
    """A healthy run to be made, with or without the lines being watched; its result goes to `place`."""

    gate: str
    watched: bool
    place: str


class Attack(Struct, frozen=True, kw_only=True):
    """A mutation that a gate is to be run against, for at most `within_s`; what is found goes to `place`."""

    gate: str
    mutation: Mutation
    within_s: float
    place: str


def measure(session_path: str, asked: Measuring) -> Reach:
    """Run a gate against an unchanged copy."""
    session = load_session(session_path)
    project = project_of(session.options.specs)
    with tempfile.TemporaryDirectory(prefix="gates-lines-") as scratch:
        place = Path(scratch)
        told = place / "lines"
        told.mkdir()
        root = place / "copy"
        environment = {
            "PYTHONPATH": str(SHIM),
            ROOT: str(root),
            OUT: str(told),
        }
        copy = Copy(
            root=root,
            mode="healthy",
            defect=None,
            seed=session.options.seed,
            environment=environment if asked.watched else {},
        )
        ran = _run(session, project, asked.gate, copy, place, None)
        reach = Reach(
            gate=asked.gate,
            status=ran.verdict.status,
            detail=ran.verdict.detail,
            seconds=ran.seconds,
            lines=_lines(told, root),
        )
    keep(asked.place, reach)
    return reach


def attack(session_path: str, asked: Attack) -> Finding:
    """Run a gate against a mutant. A run that cannot be relied on kills nothing, whatever its assertions say."""
    session = load_session(session_path)
    project = project_of(session.options.specs)
    with tempfile.TemporaryDirectory(prefix="gates-mutant-") as scratch:
        place = Path(scratch)
        copy = Copy(
            root=place / "copy",
            mode="defect",
            defect=f"mutant {asked.mutation.sha256[:12]}",
            seed=session.options.seed,
        )
        ran = _run(session, project, asked.gate, copy, place, asked.within_s, asked.mutation)
    status = ran.verdict.status
    finding = Finding(
        outcome=outcome_of_gate(status, measured=ran.measured, late=not ran.in_time),
        by=ran.red if status == "FAIL" else [],
        detail="" if status == "PASS" else f"{status}: {ran.verdict.detail}",
        seconds=ran.seconds,
    )
    keep(asked.place, finding)
    return finding


class _Ran(Struct, frozen=True, kw_only=True):
    verdict: GateVerdict
    in_time: bool
    measured: bool
    seconds: float

    @property
    def red(self) -> list[str]:
        return [result.that for result in self.verdict.assertions if result.status == "FAIL"]


def _run(
    session: Session,
    project: Project,
    name: str,
    copy: Copy,
    place: Path,
    within_s: float | None,
    mutation: Mutation | None = None,
) -> _Ran:
    gate = project.gates[name]
    sources = project.targets[gate.target].source
    copy_sources(Path(session.root), sources, copy.root)
    if mutation is not None:
        mutate(copy.root, mutation)
    compile_sources(copy.root, sources)
    plan = plan_in(session, project, gate, copy, place / "run" / name)
    in_time, seconds = carry_out(session, gate, plan, within_s)
    return _Ran(
        verdict=judged(session, project, gate, plan.directory, plan.run_id),
        in_time=in_time,
        measured=_measured(plan.directory),
        seconds=seconds,
    )


def _measured(run: Path) -> bool:
    """Whether a run came to its scenario: what it is about was there to be measured."""
    steps = list(_steps(run))
    control = [step for step in steps if step.step.startswith(f"{CONTROL}.")]
    return bool(steps) and all(step.outcome == "ok" for step in control)


def _steps(run: Path) -> Iterator[Step]:
    try:
        lines = regular.read(run / "steps.jsonl").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        yield msgspec.json.decode(line, type=Step)


def _lines(told: Path, root: Path) -> Lines:
    """What all processes of a run have executed together.

    Where a signal interrupts it, coverage.py now and then takes lines of a library for those of the file that called
    it; what is no line of code there is left out.
    """
    together: dict[str, set[int]] = {}
    for path in sorted(told.glob("*.json")):
        for file, lines in msgspec.json.decode(
            regular.read(path), type=dict[str, set[int]]
        ).items():
            together.setdefault(file, set()).update(lines)
    return {
        file: sorted(lines & _code_lines(root / file)) for file, lines in sorted(together.items())
    }


def _code_lines(path: Path) -> set[int]:
    try:
        waiting = [compile(regular.read(path), str(path), "exec", dont_inherit=True)]
    except (OSError, SyntaxError):
        return set()
    lines: set[int] = set()
    while waiting:
        code = waiting.pop()
        lines.update(line for _, _, line in code.co_lines() if line)
        waiting += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return lines
