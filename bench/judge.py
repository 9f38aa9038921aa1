"""(d) Milliseconds that the judge takes per gate, reading the evidence included."""

import tempfile
import time
from pathlib import Path
from statistics import median

from bench.harness import FEW, MANY, Gates
from bench.processes import ROOT
from bench.report import Measured, unmeasured
from chaos.faults import SIGNATURES
from gates.judge.connection import open_release
from gates.judge.verdict import judge_gate
from gates.release.specs import read_specs
from gates.release.stages import judge_directory
from gates.run.session import collected_of

PART = "d"
AIM = "<= 10"
REAL_AIM = "<= 25"
EMPTY = "judging one more empty gate (ms)"
REAL = "judging one gate of the last release (ms)"


def measure(rounds: int, _: int) -> list[Measured]:
    """Empty gates show the least that it costs, the last release what it costs."""
    return [empty(rounds), real(rounds)]


def empty(rounds: int) -> Measured:
    """The marginal cost between two runs of empty gates."""
    with tempfile.TemporaryDirectory(prefix="bench-judge-") as name:
        suite = Gates(Path(name), workers=2)
        few, many = (released(suite, count) for count in (FEW, MANY))
        pairs = [(judging_ms(few), judging_ms(many)) for _ in range(rounds)]
    return Measured(
        part=PART,
        what=EMPTY,
        ratio=median((most - least) / (MANY - FEW) for least, most in pairs),
        aim=AIM,
        values={
            f"ms for {FEW}": median(least for least, _ in pairs),
            f"ms for {MANY}": median(most for _, most in pairs),
        },
    )


def released(suite: Gates, count: int) -> Path:
    """Run so many gates; where their sealed evidence is."""
    suite.run_s(count)
    (directory,) = (suite.directory / str(count) / "runs").glob("*/release")
    return directory


def real(rounds: int) -> Measured:
    """The gates of the last release, one after the other, once its evidence is open."""
    directory = last_release()
    if directory is None:
        why = "there is no release with its evidence: `python -m gates run` makes one"
        return unmeasured(PART, REAL, REAL_AIM, why)
    opening: list[float] = []
    judging: list[float] = []
    specs = read_specs(directory)
    gates = specs.judged
    for _ in range(rounds):
        began_s = time.perf_counter()
        evidence = open_release(directory / "evidence", collected_of(specs.targets))
        opened_s = time.perf_counter()
        for gate in gates.values():
            judge_gate(evidence, gate, SIGNATURES)
        opening.append((opened_s - began_s) * 1000)
        judging.append((time.perf_counter() - opened_s) * 1000 / len(gates))
    return Measured(
        part=PART,
        what=REAL,
        ratio=median(judging),
        aim=REAL_AIM,
        values={"gates": len(gates), "ms to open the evidence, once": median(opening)},
        note=f"{directory.name}, with all checks of every assertion",
    )


def last_release() -> Path | None:
    """The directory of what was released last in this repository, if its evidence is still there."""
    reports = (ROOT / "releases").glob("*/gate-report.json")
    last = max(reports, key=lambda path: path.stat().st_mtime, default=None)
    return last.parent if last is not None and (last.parent / "evidence").is_dir() else None


def judging_ms(directory: Path) -> float:
    """One judgement of a release directory, from opening its files to its report."""
    began_s = time.perf_counter()
    judge_directory(directory)
    return (time.perf_counter() - began_s) * 1000
