"""(g) Questions about an incident of ten million decisions: beside a plain scan of its lines, and beside polars on Parquet.

BENCH_INCIDENT_DECISIONS asks for fewer. The bundle is made by DuckDB for this, and takes 2.5 GB.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import duckdb

from bench.processes import ROOT
from bench.report import Measured, unmeasured
from gates.incidents.analysis import Limits, Row, analysing
from gates.incidents.bundle import Bundle, open_bundle
from gates.incidents.packing import pack
from gates.incidents.questions import Question, chosen, read_questions
from tests.builders.incidents import DECISIONS_OF_TEN, write_incident

PART = "g"
DECISIONS = int(os.environ.get("BENCH_INCIDENT_DECISIONS", "10_000_000"))
LIMITS = Limits("1GB", os.cpu_count() or 1)
GIVEN_MB = 512
SCANNED = "one question about lines beside a scan by DuckDB alone (time)"
MEMORY = "memory of a whole summary beside what it was given"
POLARS = "polars beside the same questions about Parquet (time)"
ONE = "stages"


def measure(rounds: int, _: int) -> list[Measured]:
    """One bundle is made, and asked in every way."""
    with tempfile.TemporaryDirectory(prefix="bench-incidents-") as name:
        requests = DECISIONS * 10 // DECISIONS_OF_TEN
        lines = open_bundle(write_incident(Path(name, "lines"), requests=requests))
        pack(lines, Path(name, "packed"), LIMITS)
        packed = open_bundle(Path(name, "packed"))
        return [memory(lines), scanned(rounds, lines), beside_polars(rounds, packed)]


def memory(bundle: Bundle) -> Measured:
    """The largest resident size of a process that answers everything."""
    summary = (
        "-m",
        "gates",
        "incident",
        "summary",
        str(bundle.directory),
        "--memory",
        f"{GIVEN_MB}MB",
    )
    # A process inherits the peak of the one that it was forked from: one in between has none yet.
    between = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = (sys.executable, "-c", between, sys.executable, *summary)
    said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    peak = int(said) / 1024
    return Measured(
        part=PART,
        what=MEMORY,
        ratio=peak / GIVEN_MB,
        aim="<= 1.5",
        values={"MB": peak, "MB given": GIVEN_MB},
    )


def scanned(rounds: int, bundle: Bundle) -> Measured:
    """One question, digest and start included, beside what DuckDB alone takes for it; then all questions at once."""
    questions = read_questions()
    every = chosen(questions, (), compares=False)
    times: dict[str, list[float]] = {"scan": [], "one": [], "all": []}
    for _ in range(rounds):
        times["scan"].append(_timed(lambda: _scan(bundle.sources["decisions"])))
        times["one"].append(_timed(lambda: _answers(bundle, [questions[ONE]])))
        times["all"].append(_timed(lambda: _answers(bundle, every)))
    scan, one, whole = (median(taken) for taken in times.values())
    return Measured(
        part=PART,
        what=SCANNED,
        ratio=one / scan,
        aim="<= 1.3",
        values={
            "decisions": bundle.manifest.counts["decisions"],
            "s a scan": scan,
            f"s {ONE}": one,
            f"s all {len(every)} questions": whole,
        },
    )


def beside_polars(rounds: int, bundle: Bundle) -> Measured:
    """The same answers from the same Parquet, each engine with all cores; checked to be the same."""
    try:
        from bench import polars_questions  # noqa: PLC0415 - is only there where polars is
    except ImportError:
        why = "polars is missing: `nox -s bench` has it"
        return unmeasured(PART, POLARS, ">= 1.5", why)
    asked: Mapping[str, Callable[[Bundle], list[Row]]] = polars_questions.QUESTIONS
    questions = [question for name, question in read_questions().items() if name in asked]
    ours: list[float] = []
    theirs: list[float] = []
    found: dict[str, Sequence[Row]] = {}
    other: dict[str, Sequence[Row]] = {}
    for _ in range(rounds):
        ours.append(_timed(lambda: found.update(_answers(bundle, questions))))
        theirs.append(
            _timed(lambda: other.update((name, ask(bundle)) for name, ask in asked.items()))
        )
    differing = [name for name in asked if list(found[name]) != other[name]]
    if differing:
        raise RuntimeError(f"polars answers otherwise: {', '.join(differing)}")
    return Measured(
        part=PART,
        what=POLARS,
        ratio=median(theirs) / median(ours),
        aim=">= 1.5",
        values={"s ours": median(ours), "s polars": median(theirs)},
        note=", ".join(asked),
    )


def _scan(path: Path) -> None:
    """The same from one pass of DuckDB alone over the same file, whose columns it finds out itself."""
    sql = read_questions()[ONE].sql.replace(
        "FROM decisions",
        "FROM (SELECT *, make_timestamp(CAST(round(at_ms * 1000) AS BIGINT)) AS decided_at FROM read_json(?))",
    )
    with duckdb.connect(":memory:", config={"threads": LIMITS.threads}) as connection:
        connection.execute(sql, [str(path)]).fetchall()


def _answers(bundle: Bundle, questions: Sequence[Question]) -> dict[str, Sequence[Row]]:
    with analysing({"": [bundle]}, questions, LIMITS) as analysis:
        return {question.name: analysis.ask(question).rows for question in questions}


def _timed(action: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    action()
    return time.perf_counter() - began_s
