"""Faults as steps of a whole run: a target of two processes, its link, and the evidence of it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from chaos.evidence.schema import (
    Fault,
    LinkBypass,
    LinkConnection,
    LinkProbe,
    Mode,
    Row,
    RunEnd,
)
from chaos.evidence.schema import Step as StepRow
from chaos.faults.cut import Cut
from chaos.faults.latency import Latency
from chaos.spec.step import Step
from chaos.spec.target import LinkSpec, Probe, ProcessSpec, Target
from chaos.spec.units import Duration
from chaos.steps.clear import Clear
from chaos.steps.pause import Pause
from tests.builders import gate_runs
from tests.builders.link_rig import SERVER

R = TypeVar("R", bound=Row)

LINK = "client->server"

# Asks the server again and again, wherever it is told that the server is.
CLIENT = """
import os, socket, sys, time, urllib.request
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    try:
        urllib.request.urlopen(sys.argv[2] or os.environ["SERVER_URL"], timeout=1).read()
    except OSError:
        pass
    time.sleep(0.02)
"""


def target(*, by_pass: bool) -> Target:
    server, client = shlex.quote(SERVER), shlex.quote(CLIENT)
    goes_to = "http://127.0.0.1:{port.server}/20" if by_pass else "''"
    return Target(
        target="pair",
        processes={
            "server": ProcessSpec(
                run=f"{{python}} -S -c {server} 127.0.0.1 {{port.server}}", port=1
            ),
            "client": ProcessSpec(
                run=f"{{python}} -S -c {client} {{port.client}} {goes_to}", port=2
            ),
        },
        links={LINK: LinkSpec(to="server", env="SERVER_URL", probe=Probe(get="/20"))},
    )


def run(
    directory: Path, scenario: Sequence[Step], mode: Mode = "healthy", *, by_pass: bool = False
) -> Path:
    plan = gate_runs.plan(
        directory,
        "",
        ("server", "client"),
        run_id="run",
        gate="pair",
        target=target(by_pass=by_pass),
        scenario=tuple(scenario),
        mode=mode,
        source_root=directory,
        toxiproxy=gate_runs.toxiproxy(),
    )
    gate_runs.run(plan)
    (end,) = rows(plan.directory, RunEnd, "run_ends")
    assert (end.end_state, end.end_detail) == ("completed", None)
    return plan.directory


def rows(directory: Path, struct: type[R], table: str) -> list[R]:
    path = directory / f"{table}.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=struct) for line in lines]


def test_fault_with_a_time_ends_by_itself_and_may_be_cleared_again(tmp_path: Path) -> None:
    cut = Cut(cut=LINK, name="outage", for_=Duration("200ms"))
    evidence = run(tmp_path, [cut, Pause(pause=Duration("2s")), Clear(clear="outage")])
    (fault,) = rows(evidence, Fault, "faults")
    assert (fault.fault, fault.link, fault.proven, fault.why) == ("outage", LINK, True, None)
    assert fault.proven_ms is not None
    assert fault.off_ms is not None
    assert fault.off_ms - fault.proven_ms >= 200
    *_, cleared = rows(evidence, StepRow, "steps")
    assert fault.clean_ms is not None
    # It was taken off long before anybody asked for that.
    assert fault.off_ms < cleared.began_ms
    assert fault.own_before >= 1
    assert {row.fault for row in rows(evidence, LinkProbe, "link_probes")} == {"outage"}
    assert {row.own for row in rows(evidence, LinkConnection, "link_connections")} == {True, False}
    assert rows(evidence, LinkBypass, "link_bypasses") == []
    assert {row.outcome for row in rows(evidence, StepRow, "steps")} == {"ok"}


def test_fault_that_nobody_clears_ends_with_the_run(tmp_path: Path) -> None:
    evidence = run(tmp_path, [Latency(latency=LINK, delay=Duration("60ms"), name="slow")])
    (fault,) = rows(evidence, Fault, "faults")
    assert (fault.proven, fault.why) == (True, None)
    assert fault.clean_ms is not None


def test_sham_runs_the_same_steps_and_proves_nothing(tmp_path: Path) -> None:
    evidence = run(tmp_path, [Cut(cut=LINK, name="outage"), Clear(clear="outage")], "sham")
    (fault,) = rows(evidence, Fault, "faults")
    assert (fault.proven, fault.why) == (False, "sham: nothing was injected")
    assert {row.outcome for row in rows(evidence, StepRow, "steps")} == {"ok"}


def test_client_past_the_link_has_no_connection_on_it(tmp_path: Path) -> None:
    evidence = run(tmp_path, [Cut(cut=LINK, name="outage"), Clear(clear="outage")], by_pass=True)
    (fault,) = rows(evidence, Fault, "faults")
    assert fault.own_before == 0
    assert {row.link for row in rows(evidence, LinkBypass, "link_bypasses")} == {LINK}


def test_same_fault_twice_at_once_is_an_error_of_the_step(tmp_path: Path) -> None:
    cut = Cut(cut=LINK, name="outage")
    evidence = run(tmp_path, [cut, cut, Clear(clear="outage"), cut])
    assert [row.outcome for row in rows(evidence, StepRow, "steps")] == ["ok", "error", "ok", "ok"]
    assert [fault.proven for fault in rows(evidence, Fault, "faults")] == [True, True]


def test_fault_that_is_not_proven_is_an_error_of_the_step(tmp_path: Path) -> None:
    slow = Latency(latency=LINK, delay=Duration("60ms"), name="slow")
    evidence = run(tmp_path, [Cut(cut=LINK, name="outage"), slow])
    first, second = rows(evidence, StepRow, "steps")
    assert (first.outcome, second.outcome) == ("ok", "error")
    assert "was not proven: before the fault" in (second.detail or "")
