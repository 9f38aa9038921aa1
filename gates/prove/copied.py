"""A run of one gate against a copy of the source, changed or not: what proofs and mutants share."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.engine.plan import Plan
from chaos.evidence.schema import Mode
from gates.run.bench import Bench
from gates.run.session import plan_of, tree_digest
from gates.spec.gate import Gate


class Copy(Struct, frozen=True, kw_only=True):
    """What is run: the copy below `root`, and what evidence says of it. `environment` is added to its processes'."""

    root: Path
    mode: Mode
    defect: str | None
    seed: int
    environment: Mapping[str, str] = {}


def plan_in(bench: Bench, gate: Gate, copy: Copy, directory: Path) -> Plan:
    """One run of a gate in a copy, recorded in `directory`."""
    plan = plan_of(bench.session, bench.project, gate)
    sources = bench.project.targets[gate.target].source
    return msgspec.structs.replace(
        plan,
        directory=directory,
        seed=copy.seed,
        source_root=copy.root,
        mode=copy.mode,
        defect=copy.defect,
        digests={**plan.digests, "source": tree_digest(copy.root, sources)},
        shared=False,
        environment=copy.environment,
    )
