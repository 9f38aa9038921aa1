"""A process of a target is all that came of it: wrappers, workers that lost their mark, daemons that left their session."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chaos.evidence.sealing import Loader
from chaos.spec.target import ProcessSpec, Target
from chaos.spec.units import Duration
from gates.judge.connection import open_blank
from gates.spec.gate import Gate
from gates.spec.snapshot import judged_of
from tests.builders.gate_runs import ROOT, Evidence, plan, run, run_steps, target
from tests.builders.waiting import is_gone, until


def of_shape(shape: str) -> Target:
    known = target()
    command = f"{{python}} tests/targets/trees.py {shape} {{port.web}}"
    if shape == "wrapped":
        command = f"sh -c '{command}; exit $?'"
    web = msgspec.structs.replace(known.processes["web"], run=command)
    return msgspec.structs.replace(known, processes={**known.processes, "web": web})


def told(evidence: Evidence, what: str) -> list[int]:
    """Process ids by what the target says, in the order of the requests."""
    answers = [row.get("response") for row in evidence.requests()]
    return [int(answer[what]) for answer in answers if isinstance(answer, dict)]


SHAPES = ("wrapped", "preforked", "detached")


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_done_to_a_process_is_done_to_all_of_it(tmp_path: Path, shape: str) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /}}
          - watch: stopped
            processes: [web]
            meanwhile:
              - {kill: web, signal: STOP}
              - {request: {get: /}, within: 1s, expect: {outcome: info}}
          - {kill: web, signal: CONT}
          - {request: {get: /}}
          - {kill: web}
          - {request: {get: /}, expect: {outcome: error}}
          - {start: web}
          - {request: {get: /}}
          - {watch: listening, sockets: true, meanwhile: [{pause: 1ms}]}
          - {kill: web, signal: TERM}
          - {request: {get: /}, expect: {outcome: error}}
          - {start: web}
          - {request: {get: /}}
        """,
        target=of_shape(shape),
    )
    assert evidence.details() == []
    first, resumed, second, third = told(evidence, "pid")
    assert first == resumed
    assert len({first, second, third}) == 3
    assert evidence.rows("process_samples")[-1]["state"] == "T"
    assert second in {row["pid"] for row in evidence.rows("sockets")}
    lives = evidence.rows("processes")
    assert [row["ended_by"] for row in lives] == ["kill", "kill", "teardown"]
    assert not {row["pid"] for row in lives} & {first, second, third}
    assert all(map(is_gone, told(evidence, "pid") + told(evidence, "helper")))


def test_one_process_of_a_tree_is_killed_alone(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /}}
          - {kill: web, alone: true}
          - {request: {get: /}}
          - {start: web, within: 5s}
        """,
        target=of_shape("preforked"),
    )
    first, second = told(evidence, "pid")
    assert first == second
    assert [outcome for _, outcome in evidence.outcomes()] == ["ok", "ok", "ok", "failed"]
    assert "exited with 1 before it was ready" in str(evidence.details()[0])
    assert [row["ended_by"] for row in evidence.rows("processes")] == ["kill", "itself"]
    assert is_gone(first)


STRANGER = """
scenario:
  - {run: "{python} tests/targets/trees.py left {port.other}", expect: {exit: 0}}
  - {request: {get: /readyz}, to: other}
  - {start: other, within: 1ms, env: {NEVER_READY: "1"}}
  - {kill: other}
"""


def test_who_answers_in_the_place_of_a_process_is_not_taken_for_it(tmp_path: Path) -> None:
    (evidence,) = run(plan(tmp_path, STRANGER))
    unready, unproven = map(str, evidence.details())
    who = r"process \d+ \(\S+python\S* tests/targets/trees.py left \d+\)"
    assert re.match(
        rf"other was not ready within 1ms \({who} answers on 127\.0\.0\.1:\d+, which is no process of this start\):\n",
        unready,
    )
    assert re.fullmatch(
        rf"that other has ended is not proven: {who} still listens on 127\.0\.0\.1:\d+", unproven
    )
    assert [outcome for _, outcome in evidence.outcomes()] == ["ok", "ok", "failed", "error"]
    # It listened when all that may do so had ended, and ends all the same.
    (left,) = evidence.rows("sockets")
    assert (left["watch"], left["process"], left["address"]) == (None, "other", "127.0.0.1")
    assert until(lambda: is_gone(int(str(left["pid"]))))


def test_what_listens_after_a_shared_stack_has_ended_is_of_all_that_shared_it(
    tmp_path: Path,
) -> None:
    reads = "scenario: [{request: {get: /readyz}}]"
    leaves = (
        'scenario: [{run: "{python} tests/targets/trees.py left {port.other}", expect: {exit: 0}}]'
    )
    shared = run(plan(tmp_path, reads, shared=True), plan(tmp_path, leaves, shared=True))
    loader = Loader(open_blank({}).connection, {})
    for evidence in shared:
        (left,) = evidence.rows("sockets")
        assert (left["watch"], left["process"]) == (None, "other")
        assert until(lambda pid=left["pid"]: is_gone(int(str(pid))))  # type: ignore[misc]
        problems = [file.problem or "" for file in loader.read(evidence.directory)]
        assert not any("closed" in problem or "seq" in problem for problem in problems)


RUNNER = """
import asyncio, sys
from pathlib import Path
from chaos.engine.run import Worker
from tests.builders.gate_runs import plan
from tests.chaos.engine.test_trees import of_shape

STEPS = "scenario: [{request: {get: /}}, {pause: 1h}]"

async def main():
    await Worker().run(plan(Path(sys.argv[1]), STEPS, target=of_shape(sys.argv[2])))

asyncio.run(main())
"""


def test_nothing_outlives_a_killed_worker_whatever_it_took_off(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path), "detached"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    try:
        assert until(lambda: bool(list(tmp_path.glob("evidence-*/responses.jsonl"))))
        (directory,) = tmp_path.glob("evidence-*")
        assert until(lambda: bool(Evidence(directory).rows("responses")))
    finally:
        worker.kill()
        worker.wait()
    evidence = Evidence(directory)
    assert until(lambda: all(map(is_gone, told(evidence, "pid") + told(evidence, "helper"))))


def supervised() -> Target:
    """`web` starts `worker`, and another one whenever that has ended."""
    known = target()
    command = "{python} tests/targets/trees.py supervising {port.web} {port.worker}"
    processes = {
        **known.processes,
        "web": msgspec.structs.replace(known.processes["web"], run=command),
        "worker": ProcessSpec(child_of="web", port=8010, ready="GET /"),
    }
    return msgspec.structs.replace(known, processes=processes)


def test_a_child_that_its_parent_replaces_is_a_process_of_its_own(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /}}
          - {request: {get: /}, to: worker}
          - {kill: worker}
          - {await: {get: /}, to: worker, expect: {status: 200}, name: again}
          - {request: {get: /}}
          - {request: {get: /end}, to: worker}
          - {await: {get: /}, to: worker, expect: {status: 200, json: {pid: present}}, name: last, every: 50ms}
          - {watch: samples, processes: [web, worker], meanwhile: [{pause: 1ms}]}
          - {restart: [web]}
          - {request: {get: /}, to: worker}
          - {kill: web}
          - {request: {get: /}, expect: {outcome: error}}
          - {request: {get: /}, to: worker}
        """,
        target=supervised(),
        needs=("web", "worker"),
    )
    assert evidence.details() == []
    lives = evidence.rows("processes")
    ends = {
        name: [row["ended_by"] for row in lives if row["process"] == name]
        for name in ("web", "worker")
    }
    assert ends == {
        "web": ["kill", "kill"],
        "worker": ["kill", "itself", "kill", "teardown"],
    }
    workers = [row for row in lives if row["process"] == "worker"]
    assert len({row["pid"] for row in workers}) == 4
    assert all(row["exit"] is None for row in workers)
    assert workers[0]["ready_ms"] is not None and workers[-1]["ready_ms"] is not None
    assert {row["parent"] for row in workers} == {
        row["pid"] for row in lives if row["process"] == "web"
    }
    assert all(is_gone(int(row["pid"])) for row in lives)


def test_a_gate_takes_the_ends_of_such_children_for_data() -> None:
    gate = Gate(
        gate="g", id="A1", class_="delta", title="t", why="w", target="t", exits=["web"], control=[], assert_=[]
    )  # fmt: skip
    assert judged_of(gate, supervised()).exits == ["web", "worker"]


def test_a_child_that_never_comes_is_told(tmp_path: Path) -> None:
    known = supervised()
    command = "{python} tests/targets/trees.py plain {port.web}"
    web = msgspec.structs.replace(known.processes["web"], run=command)
    worker = msgspec.structs.replace(known.processes["worker"], ready_within=Duration("50ms"))
    alone = msgspec.structs.replace(known, processes={"web": web, "worker": worker})
    (evidence,) = run(plan(tmp_path, "scenario: []", ("web", "worker"), target=alone))
    said = "worker was not ready within 50ms: nothing that web started answers"
    assert said in str(evidence.end[1])
