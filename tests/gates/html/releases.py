"""Small releases with real evidence for tests of what is rendered, harmless ones and hostile ones."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from chaos.evidence import schema, sealing
from chaos.evidence.recorder import as_json
from gates.judge.connection import open_release
from gates.judge.result import GateVerdict
from gates.release.report import (
    SCHEMA_VERSION,
    AssertionReport,
    DefectReport,
    FaultReport,
    GateReport,
    InvariantReport,
    Report,
    absent,
    decide,
    summarise,
)
from gates.spec.assertion import Assertion, Judged, Named
from gates.spec.release import ListedGate
from tests.gates.judge.runs import Run, verdict_of

HOSTILE = (
    """</script></code><script>alert("x")</script><img src=x onerror='alert(1)'>{{ 7 * 7 }}&<b>"""
)
"""Text that would run, load or break something wherever it is not escaped."""


def outage_run(root: Path, name: str = "demo", run_id: str = "run-1") -> Path:
    """A run with two hundred requests, an outage that is proven, refusals inside it and a process that was killed."""
    run = Run(root, name, run_id).begin()
    for number in range(200):
        at = 1000.0 + number * 40.0
        is_out = 3000.0 < at < 5000.0
        status = 503 if is_out and number % 10 == 0 else 404 if number % 25 == 0 else 200
        took = 300.0 if is_out else 5.0 + number % 7
        run.request(sent_ms=at, done_ms=at + took, status=status, route="/v1/turn")
    run.request(answered=False, sent_ms=9100.0)
    run.fault(on_ms=2900.0, proven_ms=3000.0, off_ms=5000.0, clean_ms=5100.0)
    for phase, failure in (
        ("before", None),
        ("start", "refused"),
        ("end", "refused"),
        ("after", None),
    ):
        run.probe(phase, failure=failure).probe(phase, path="direct")
    for process, ended_by, start, end in (
        ("memory", "kill", 100.0, 6000.0),
        ("memory", "teardown", 6500.0, 9000.0),
    ):
        run.recorder.add(
            schema.Process,
            process=process,
            pid=1,
            parent=1,
            started_ms=start,
            ready_ms=start + 10,
            exited_ms=end,
            exit=None,
            ended_by=ended_by,
            output="out.txt",
        )
    return run.connected().step("control.0").step("scenario.0").end().close()


def assertions() -> list[Assertion]:
    """One that holds, one that fails on a number, and one on a text, over `outage_run`."""
    common = {"from_": "requests where status is not null", "at_least": 100}
    return [
        Assertion(that="everything is answered soon", every="service_ms < 200", **common),  # type: ignore[arg-type]
        Assertion(that="most are answered", share="status < 500", is_=">= 0.9", **common),  # type: ignore[arg-type]
        Assertion(that="only turns are asked for", every="route = '/v1/turn'", **common),  # type: ignore[arg-type]
    ]


def judged_gate(name: str = "demo", **changes: object) -> Judged:
    """The snapshot of the gate that judges `outage_run`."""
    columns: dict[str, object] = {
        "gate": name,
        "id": "C4",
        "asserts": assertions(),
        "with_": {"slow": Named(query="select * from requests where service_ms > 100", at_least=1)},
        "faults": ["outage"],
    }
    return Judged(**(columns | changes))  # type: ignore[arg-type]


def gate_report(verdict: GateVerdict, **changes: object) -> GateReport:
    """A gate of the report, from its verdict."""
    columns: dict[str, object] = {
        "name": verdict.gate,
        "class_": "delta",
        "epic": "C",
        "status": verdict.status,
        "detail": verdict.detail,
        "duration_s": 1.25,
        "id": verdict.id,
        "severity": "blocker",
        "title": "Turns go on while memory is away",
        "run_id": verdict.run_id,
        "assertions": [
            AssertionReport(
                **msgspec.structs.asdict(own), falsified_by=["a defect"], killed_by_sham=False
            )
            for own in verdict.assertions
        ],
        "faults": [FaultReport(**msgspec.structs.asdict(own)) for own in verdict.faults],
        "defects": [defect_report()],
        "config": {"breaker": {"open_for_s": 0.3}},
        "evidence": {"requests": 201},
        "spec_sha256": "ab" * 32,
        "rerun": "nox -s gates -- C4",
        "reasons": verdict.reasons,
    }
    return GateReport(**(columns | changes))  # type: ignore[arg-type]


def defect_report(**changes: object) -> DefectReport:
    """A defect that was proven."""
    columns: dict[str, object] = {
        "defect": "a defect",
        "file": "service/turns.py",
        "fails": ["everything is answered soon"],
        "proven": True,
        "diff": "-    good()\n+    bad()",
        "measured": {"everything is answered soon": "3 of 9 rows violating it"},
    }
    return DefectReport(**(columns | changes))  # type: ignore[arg-type]


def missing(gate_id: str, name: str, class_: str = "floor") -> GateReport:
    """A gate that does not exist."""
    listed = ListedGate(id=gate_id, gate=name, class_=class_, since="v4.3")  # type: ignore[arg-type]
    return absent(listed, "MISSING", "there is no such gate yet")


INVARIANTS = [
    InvariantReport(id="complete", statement="All gates are there", holds=None, detail="1 of 3"),
    InvariantReport(id="contract", statement="The API is compatible", holds=True, detail="it is"),
    InvariantReport(id="committed", statement="The source is committed", holds=False, detail="no"),
]


def report_of(gates: Sequence[GateReport], **changes: object) -> Report:
    """A full report of some gates."""
    verdict, exit_code, reason = decide(gates, INVARIANTS, [], partial=False)
    columns: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "version": "v9.9.0",
        "verdict": verdict,
        "reason": reason,
        "exit_code": exit_code,
        "partial": False,
        "timestamp": "2026-01-02T03:04:05+00:00",
        "elapsed_s": 12.5,
        "summary": summarise(gates),
        "invariants": INVARIANTS,
        "gates": list(gates),
        "session": "s1",
        "commit": "c0ffee" * 6,
        "dirty": False,
        "seed": 46,
        "workers": 2,
        "inputs": {"source": "aa" * 32},
        "versions": {"python": "3.11"},
        "toxiproxy": None,
        "contract_version": "v9.8.0",
        "attempts": [],
        "limits": ["One host only."],
    }
    return Report(**(columns | changes))  # type: ignore[arg-type]


def release(root: Path, **changes: object) -> tuple[Path, Report]:
    """A release directory with evidence of one gate that fails, and two gates that are missing."""
    directory = root / "release"
    sealing.seal([outage_run(root / "runs")], directory / "evidence", {})
    snapshot = judged_gate()
    evidence = open_release(directory / "evidence", {})
    verdict = verdict_of(evidence, snapshot)
    evidence.connection.close()
    gates = [missing("F01", "file-exists"), gate_report(verdict), missing("B1", "restore", "delta")]
    report = report_of(gates, **changes)
    (directory / "gate-report.json").write_bytes(msgspec.json.encode(report))
    return directory, report


def hostile_gate() -> Judged:
    """What is judged of a gate in which every text that it has would do harm."""
    asserts = [
        Assertion(that=HOSTILE, from_="requests", at_least=5, every=f"route = {quoted(HOSTILE)}"),
        Assertion(that="soon", from_="requests", at_least=5, every="service_ms < 10"),
    ]
    named = {"slow": Named(query=f"select seq, {quoted(HOSTILE)} as x from requests", at_least=1)}
    return Judged(gate="demo", id="C4", asserts=asserts, with_=named, faults=[HOSTILE])


def hostile_release(root: Path) -> tuple[Path, Report]:
    """A release in which every text that comes from elsewhere would do harm if it were not escaped."""
    run = Run(root / "runs", "demo", "run-1").begin()
    for number in range(20):
        at = 10.0 + number
        run.request(
            sent_ms=at,
            done_ms=at + 1 + number,
            status=500,
            route=HOSTILE[number % 3 :],
            step=HOSTILE,
        )
    run.fault(HOSTILE, kind="cut", link=HOSTILE, attributes=as_json({HOSTILE: HOSTILE}))
    run.probe("start", fault=HOSTILE, failure=HOSTILE)
    directory = root / "release"
    sealed = run.step("control.0").step("scenario.0").end().close()
    sealing.seal([sealed], directory / "evidence", {})
    snapshot = hostile_gate()
    evidence = open_release(directory / "evidence", {})
    verdict = verdict_of(evidence, snapshot)
    evidence.connection.close()
    gate = gate_report(
        verdict,
        epic=HOSTILE,
        detail=HOSTILE,
        id=HOSTILE,
        title=HOSTILE,
        severity=HOSTILE,
        config={HOSTILE: [HOSTILE]},
        evidence={HOSTILE: 1},
        rerun=HOSTILE,
        proven=False,
        unproven=HOSTILE,
        defects=[
            defect_report(
                defect=HOSTILE, file=HOSTILE, fails=[HOSTILE], diff=f"+{HOSTILE}", why=HOSTILE
            )
        ],
    )
    invariant = InvariantReport(id=HOSTILE, statement=HOSTILE, holds=False, detail=HOSTILE)
    report = report_of(
        [gate],
        version=HOSTILE,
        reason=HOSTILE,
        commit=HOSTILE,
        session=HOSTILE,
        timestamp=HOSTILE,
        invariants=[invariant],
        inputs={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        limits=[HOSTILE],
    )
    return directory, report


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
