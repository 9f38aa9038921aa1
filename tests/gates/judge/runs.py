"""Runs that are written with the real recorder, and sealed and judged with the real code."""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Raw, Struct

from chaos.evidence import schema
from chaos.evidence.recorder import Recorder, as_json
from gates.judge.connection import Evidence
from gates.judge.faults import Signatures
from gates.judge.result import GateVerdict
from gates.judge.verdict import judge_gate
from gates.spec.assertion import Assertion, Judged

NULL = Raw(b"null")


class Run:
    """A run of one gate on disk; what a test wants otherwise it changes before `close`."""

    def __init__(self, root: Path, gate: str = "demo", run_id: str = "run-1") -> None:
        self.directory = root / run_id / gate
        self.recorder = Recorder(self.directory, run_id, gate, [])

    def begin(
        self,
        *,
        planned: Sequence[str] = ("control.0", "scenario.0"),
        mode: str = "healthy",
        **changes: object,
    ) -> "Run":
        columns: dict[str, object] = {
            "mode": mode,
            "defect": None,
            "target": "toy",
            "seed": 7,
            "digests": as_json({"gate": "g1", "harness": "h1"}),
            "versions": as_json({}),
            "config": as_json({}),
            "planned": list(planned),
            "epoch_ms": 1.5,
            "boot_id": "boot",
            "host": "host",
            "worker": "main",
        }
        self.recorder.add(schema.RunRow, **(columns | changes))
        return self

    def step(self, step: str, outcome: str = "ok", **changes: object) -> "Run":
        columns: dict[str, object] = {
            "step": step,
            "kind": "request",
            "name": None,
            "began_ms": 1.0,
            "ended_ms": 2.0,
            "outcome": outcome,
            "detail": None,
        }
        self.recorder.add(schema.Step, **(columns | changes))
        return self

    def request(
        self,
        *,
        answered: bool = True,
        sent_ms: float = 10.0,
        done_ms: float = 12.0,
        **changes: object,
    ) -> "Run":
        request: dict[str, object] = {
            "step": "turns",
            "load": None,
            "vars": as_json({}),
            "actor": "operator",
            "role": "operator",
            "method": "GET",
            "path": "/x",
            "route": "/x",
            "link": None,
            "process": "gateway",
            "intended_ms": sent_ms,
            "sent_ms": sent_ms,
            "request": NULL,
        }
        response: dict[str, object] = {
            "status": 200,
            "outcome": "ok",
            "error": None,
            "done_ms": done_ms,
            "response": as_json({"degraded": False, "n": 3}),
            "headers": as_json({}),
            "reused": False,
            "close_framed": False,
        }
        given = {
            k: as_json(v) if k in ("vars", "request", "response", "headers") else v
            for k, v in changes.items()
        }
        seq = self.recorder.add(
            schema.Request, **(request | {k: v for k, v in given.items() if k in request})
        )
        if answered:
            answer = response | {k: v for k, v in given.items() if k in response}
            self.recorder.add(schema.Response, seq=seq, **answer)
        return self

    def load(self, load: str, count: int, **changes: object) -> "Run":
        columns: dict[str, object] = {
            "load": load,
            "shape": "rate",
            "planned": count,
            "sent": count,
            "done": count,
            "late_p99_ms": 0.5,
            "load_began_ms": 0.0,
            "load_ended_ms": 1000.0,
            "problem": None,
        }
        self.recorder.add(schema.Load, **(columns | changes))
        return self

    def fault(self, fault: str = "outage", **changes: object) -> "Run":
        columns: dict[str, object] = {
            "fault": fault,
            "kind": "cut",
            "link": "gateway->memory",
            "direction": "both",
            "attributes": as_json({}),
            "on_ms": 100.0,
            "proven_ms": 110.0,
            "off_ms": 200.0,
            "clean_ms": 210.0,
            "proven": True,
            "own_before": 1,
            "why": None,
        }
        self.recorder.add(schema.Fault, **(columns | changes))
        return self

    def probe(
        self,
        phase: str,
        *,
        fault: str = "outage",
        path: str = "link",
        failure: str | None = None,
        **changes: object,
    ) -> "Run":
        columns: dict[str, object] = {
            "link": "gateway->memory",
            "path": path,
            "fault": fault,
            "phase": phase,
            "connection": "new",
            "probed_ms": 1.0,
            "connected_after_ms": 1.0,
            "first_byte_after_ms": 1.0,
            "last_byte_after_ms": 1.0,
            "closed_after_ms": 1.0,
            "received_bytes": 10,
            "failure": failure,
        }
        self.recorder.add(schema.LinkProbe, **(columns | changes))
        return self

    def connected(
        self, *, at_ms: float = 50.0, own: bool = True, after_ms: float | None = None
    ) -> "Run":
        self.recorder.add(
            schema.LinkConnection,
            link="gateway->memory",
            client="127.0.0.1:1",
            own=own,
            connected_ms=at_ms,
            accepted_after_ms=at_ms - 1.0 if after_ms is None else after_ms,
        )
        return self

    def carried(self, **changes: object) -> "Run":
        columns: dict[str, object] = {
            "link": "gateway->memory",
            "own_connections": 1,
            "of_harness": False,
            "sent_bytes": 10,
            "received_bytes": 10,
        }
        self.recorder.add(schema.Link, **(columns | changes))
        return self

    def flow(self, *, from_ms: float, to_ms: float, **changes: object) -> "Run":
        columns: dict[str, object] = {
            "link": "gateway->memory",
            "fault": "outage",
            "client": "127.0.0.1:1",
            "sent_bytes": 0,
            "received_bytes": 0,
            "ended": False,
            "flow_from_ms": from_ms,
            "flow_to_ms": to_ms,
        }
        self.recorder.add(schema.LinkFlow, **(columns | changes))
        return self

    def life(self, process: str = "web", **changes: object) -> "Run":
        columns: dict[str, object] = {
            "process": process,
            "pid": 70,
            "parent": 7,
            "started_ms": 1.0,
            "ready_ms": 2.0,
            "exited_ms": 40.0,
            "exit": 0,
            "ended_by": "teardown",
            "output": f"000.{process}.log",
        }
        self.recorder.add(schema.Process, **(columns | changes))
        return self

    def socket(self, watch: str | None) -> "Run":
        self.recorder.add(
            schema.Socket,
            watch=watch,
            process="web",
            pid=70,
            address="127.0.0.1",
            port=8080,
            socket_ms=41.0,
        )
        return self

    def end(self, **changes: object) -> "Run":
        columns: dict[str, object] = {
            "end_state": "completed",
            "end_detail": None,
            "finished_ms": 1000.0,
            "clock_drift_ms": 0.1,
        }
        self.recorder.add(schema.RunEnd, **(columns | changes))
        return self

    def close(self) -> Path:
        self.recorder.close()
        return self.directory

    def plain(self, count: int = 20, **changes: object) -> "Run":
        """A healthy run with some requests, complete but for its closing."""
        self.begin()
        for number in range(count):
            self.request(sent_ms=10.0 + number, done_ms=12.0 + number, **changes)
        return self.step("control.0").step("scenario.0").end()


def no_proof(_attributes: object, _probes: object) -> str | None:
    return "no probes were looked at"


def proof(_attributes: object, _probes: object) -> str | None:
    return None


class Signature(Struct, frozen=True):
    """One that says what it is told to say."""

    took_hold: Callable[[object, object], str | None] = proof
    clean_again: Callable[[object, object], str | None] = proof
    refuses: bool = True


PROVEN: Signatures = {"cut": Signature()}
UNPROVEN: Signatures = {"cut": Signature(no_proof)}


def judged(*asserts: Assertion, gate: str = "demo", **changes: object) -> Judged:
    return Judged(gate=gate, id="X1", asserts=list(asserts), **changes)  # type: ignore[arg-type]


def assertion(**changes: object) -> Assertion:
    columns: dict[str, object] = {"that": "it holds", "from_": "requests", "at_least": 10}
    return Assertion(**(columns | changes))  # type: ignore[arg-type]


def verdict_of(
    evidence: Evidence, spec: Judged, signatures: Signatures = PROVEN, run_id: str | None = None
) -> GateVerdict:
    return judge_gate(evidence, spec, signatures, run_id)
