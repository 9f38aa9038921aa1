"""The snapshot of a gate that its verdict depends on; it is shipped beside the evidence."""

import hashlib

import msgspec

from chaos.engine.plan import walk
from chaos.faults.base import FaultStep
from chaos.spec.target import Target
from chaos.steps import KINDS
from gates.spec.assertion import Judged
from gates.spec.gate import Gate


def canonical(value: object) -> bytes:
    """Any spec as JSON with sorted keys: what digests of specs are taken of."""
    return msgspec.json.encode(msgspec.to_builtins(value, enc_hook=str), order="deterministic")


def sha256_of(value: object) -> str:
    """SHA-256 of a spec in its canonical form, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def rows_by_name(gate: Gate) -> dict[str, list[dict[str, object]]]:
    """The fixed tables of a gate; one whose file could not be read is none."""
    return {name: rows for name, rows in gate.data.items() if isinstance(rows, list)}


def _children(target: Target) -> list[str]:
    """Processes that another one starts and replaces: that they end is data."""
    return [name for name, spec in target.processes.items() if spec.child_of is not None]


def judged_of(gate: Gate, target: Target) -> Judged:
    """What the judge needs to know of a gate."""
    steps = [step for _, step in walk(tuple(gate.control + gate.scenario), "")]
    return Judged(
        gate=gate.gate,
        id=gate.id,
        asserts=gate.assert_,
        with_=gate.with_,
        data=rows_by_name(gate),
        faults=[step.name or "" for step in steps if isinstance(step, FaultStep)],
        loads=[name for step in steps for _, name in KINDS[type(step)].named(step, "load")],
        exits=[*gate.exits, *_children(target)],
        host=gate.host,
        collected={declared.table: declared.columns for declared in target.collect},
        spec_sha256=sha256_of(gate),
    )
