"""Runs steps against the small target of `tests/targets` and reads the evidence."""

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.engine.plan import Plan
from chaos.engine.run import Worker
from chaos.links.toxiproxy_binary import cache_directory, locate
from chaos.spec.loader import load
from chaos.spec.step import Spec, Step
from chaos.spec.target import Target
from chaos.steps import choose_step

ROOT = Path(__file__).parents[2]
TARGETS = ROOT / "tests" / "targets"
Row = dict[str, object]
_numbers = itertools.count()


class Steps(Spec, frozen=True, kw_only=True):
    """A gate without anything but its steps."""

    control: list[Step] = []
    scenario: list[Step] = []


class Evidence(Struct, frozen=True):
    """What a run left behind."""

    directory: Path

    def rows(self, table: str) -> list[Row]:
        """Rows of one table, those of other processes included."""
        files = sorted(self.directory.glob(f"{table}.jsonl")) + sorted(
            self.directory.glob(f"{table}.*.jsonl")
        )
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def requests(self) -> list[Row]:
        """Requests with what became of them."""
        responses = {row["seq"]: row for row in self.rows("responses")}
        return [
            {**row, **responses.get(row["seq"], {"outcome": "info"})}
            for row in self.rows("requests")
        ]

    def outcomes(self) -> list[tuple[object, object]]:
        """(id, outcome) of every step, in the order in which they ended."""
        return [(row["step"], row["outcome"]) for row in self.rows("steps")]

    def details(self) -> list[object]:
        """What steps that were not ok say, in the order in which they ended."""
        return [row["detail"] for row in self.rows("steps") if row["outcome"] != "ok"]

    @property
    def end(self) -> tuple[object, object]:
        """(state, detail) of the end of the run."""
        (row,) = self.rows("run_ends")
        return row["end_state"], row["end_detail"]

    def written(self) -> bytes:
        """Every byte of it."""
        return b"".join(path.read_bytes() for path in self.directory.rglob("*") if path.is_file())


def target(name: str = "trivial") -> Target:
    """A target of `tests/targets`."""
    return load(TARGETS / f"{name}.yaml", Target, {Step: choose_step})[0]


def plan(
    directory: Path, /, steps: str, needs: Sequence[str] = ("web",), **changes: object
) -> Plan:
    """What the engine is to do for steps written in YAML; `changes` are those of its fields."""
    number = next(_numbers)
    file = directory / f"steps-{number}.yaml"
    file.write_text(steps or "scenario: []\n")
    read, _ = load(file, Steps, {Step: choose_step})
    made = Plan(
        run_id=f"run{number}",
        gate="some-gate",
        target=target(),
        needs=tuple(needs),
        config={},
        control=tuple(read.control),
        scenario=tuple(read.scenario),
        shared=False,
        nominal_ports=False,
        mode="healthy",
        defect=None,
        seed=46,
        digests={},
        versions={},
        directory=directory / f"evidence-{number}",
        source_root=ROOT,
        toxiproxy=None,
        keep=False,
    )
    return msgspec.structs.replace(made, **changes)


def toxiproxy() -> Path:
    """The server that gates run with."""
    return Path(locate(os.environ, cache_directory(), lambda _: None).path)


def run(*plans: Plan) -> list[Evidence]:
    """Run plans one after the other in one worker; everything has ended afterwards."""

    async def all_of_them() -> None:
        worker = Worker("test")
        try:
            for one in plans:
                await worker.run(one)
        finally:
            await worker.close()

    asyncio.run(all_of_them())
    return [Evidence(one.directory) for one in plans]


def run_steps(
    directory: Path, steps: str, needs: Sequence[str] = ("web",), **changes: object
) -> Evidence:
    """Run steps written in YAML against a fresh target."""
    (evidence,) = run(plan(directory, steps, needs, **changes))
    state, detail = evidence.end
    assert state == "completed", detail
    return evidence
