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
from gates.mutants.asking import Answer, OfMutant, Question
from gates.mutants.evaluate import Finding, outcome_of_gate
from gates.mutants.mutations import Mutation, mutate
from gates.prove.copied import Copy, plan_in
from gates.prove.copies import copy_sources
from gates.run.bench import Bench, Said
from gates.run.bytecode import compile_sources
from gates.run.lines import Lines, telling, told

SCRATCH = Path(tempfile.gettempdir())
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


class Measuring(Question[Reach], frozen=True, kw_only=True):
    """A healthy run to be made, with or without the lines being watched."""

    gives = Answer[Reach]
    kind = Reach
    gate: str
    watched: bool

    def find(self, bench: Bench) -> Reach:
        """Run the gate against an unchanged copy."""
        with tempfile.TemporaryDirectory(prefix="gates-lines-") as scratch:
            place = Path(scratch)
            root, out = place / "copy", place / "lines"
            environment = telling(root, out)
            copy = Copy(
                root=root,
                mode="healthy",
                defect=None,
                seed=bench.session.options.seed,
                environment=environment if self.watched else {},
            )
            ran = _run(bench, self.gate, copy, place, None)
            return Reach(
                gate=self.gate,
                status=ran.verdict.status,
                detail=ran.verdict.detail,
                seconds=ran.seconds,
                lines=_lines(out, root),
            )

    def said(self, result: Answer[Reach]) -> Said:
        """Its verdict, and how many lines it executes."""
        lines = sum(map(len, result.found.lines.values()))
        what = f"{self.label}, {lines} lines executed" if self.watched else self.label
        why = [result.found.detail] if result.found.status != "PASS" else []
        return Said(result.found.status, what, why, tries=result.tries)


class Attack(OfMutant, frozen=True, kw_only=True):
    """A mutation that a gate is to be run against."""

    gate: str

    def find(self, bench: Bench) -> Finding:
        """Run the gate against it. A run that cannot be relied on kills nothing, whatever its assertions say."""
        with tempfile.TemporaryDirectory(prefix="gates-mutant-") as scratch:
            place = Path(scratch)
            copy = Copy(
                root=place / "copy",
                mode="defect",
                defect=f"mutant {self.mutation.sha256[:12]}",
                seed=bench.session.options.seed,
            )
            ran = _run(bench, self.gate, copy, place, self.within_s, self.mutation)
        status = ran.verdict.status
        return Finding(
            outcome=outcome_of_gate(status, measured=ran.measured, late=not ran.in_time),
            by=ran.red if status == "FAIL" else [],
            detail="" if status == "PASS" else f"{status}: {ran.verdict.detail}",
            seconds=ran.seconds,
        )


class _Ran(Struct, frozen=True, kw_only=True):
    verdict: GateVerdict
    in_time: bool
    measured: bool
    seconds: float

    @property
    def red(self) -> list[str]:
        return [result.that for result in self.verdict.assertions if result.status == "FAIL"]


def _run(
    bench: Bench,
    name: str,
    copy: Copy,
    place: Path,
    within_s: float | None,
    mutation: Mutation | None = None,
) -> _Ran:
    gate = bench.project.thaw(name)
    sources = bench.project.targets[gate.target].source
    copy_sources(Path(bench.session.root), sources, copy.root)
    if mutation is not None:
        mutate(copy.root, mutation)
    compile_sources(copy.root, sources)
    plan = plan_in(bench, gate, copy, place / "run" / name)
    in_time, seconds = bench.carry_out(gate, plan, within_s=within_s)
    return _Ran(
        verdict=bench.judge(gate, plan.directory, plan.run_id, SCRATCH),
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


def _lines(out: Path, root: Path) -> Lines:
    """What all processes of a run have executed together.

    Where a signal interrupts it, coverage.py now and then takes lines of a library for those of the file that called
    it; what is no line of code there is left out.
    """
    return {
        file: sorted(lines & _code_lines(root / file)) for file, lines in sorted(told(out).items())
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
