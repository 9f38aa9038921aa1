"""A whole run: how it starts, how it can go wrong, and that it always ends in closed evidence and nothing else."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from chaos import guard
from chaos.engine.run import Worker
from chaos.evidence.recorder import count_and_digest
from chaos.ports import PortPool
from chaos.spec.target import LinkSpec, Prepare, Target
from chaos.spec.units import Duration
from chaos.trees import marked, table
from tests.builders.gate_runs import ROOT, Evidence, plan, run, run_steps, target, toxiproxy
from tests.builders.waiting import until
from tests.chaos.evidence.test_recorder import no_file_above


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stacks put their directories; ports are held beside those of other tests."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def changed(**changes: object) -> Target:
    return msgspec.structs.replace(target(), **changes)


def with_web(**changes: object) -> Target:
    base = target()
    web = msgspec.structs.replace(base.processes["web"], **changes)
    return msgspec.structs.replace(base, processes={**base.processes, "web": web})


def test_a_run_is_recorded_from_its_inputs_to_its_closing_rows(
    tmp_path: Path, scratch: Path
) -> None:
    evidence = run_steps(
        tmp_path,
        "scenario: [{request: {get: /add}}]\n",
        digests={"gate": "abc"},
        versions={"python": "3"},
        mode="sham",
        defect="d",
    )
    (begun,) = evidence.rows("runs")
    assert begun["digests"] == {"gate": "abc"}
    assert (begun["mode"], begun["defect"], begun["target"], begun["seed"]) == (
        "sham",
        "d",
        "trivial",
        46,
    )
    assert (begun["planned"], begun["worker"]) == (["scenario.0"], "test")
    (ended,) = evidence.rows("run_ends")
    assert abs(float(str(ended["clock_drift_ms"]))) < 50
    # An interpreter was started, and a worker has walked the steps.
    assert float(str(ended["started_cpu_ms"])) >= 10
    assert 0 < float(str(ended["harness_cpu_ms"])) < 10_000
    closings = {
        str(row["file"]): (row["lines"], row["sha256"]) for row in evidence.rows("closings")
    }
    files = {path.name for path in evidence.directory.glob("*.jsonl")} - {"closings.jsonl"}
    assert set(closings) == files
    for name, closing in closings.items():
        assert count_and_digest(evidence.directory / name) == closing
    kept = evidence.directory / "output" / "000.web.log"
    assert re.fullmatch(rb"listening on \d+ with \[redacted\]\ngoodbye\n", kept.read_bytes())
    assert [
        path.name for path in scratch.iterdir() if not path.name.startswith("chaos-ports")
    ] == []


def test_declared_tables_are_taken_from_a_copy_after_their_writers_stopped(tmp_path: Path) -> None:
    evidence = run_steps(tmp_path, "scenario: [{request: {get: /add}}]\n")
    rows = evidence.rows("collected.effects")
    assert [(row["id"], row["name"], row["raw"]) for row in rows] == [
        (1, "zero", "00ff"),
        (2, "one", None),
        (3, "two", None),
    ]
    # A line that its writer did not finish is no row.
    assert [row["what"] for row in evidence.rows("collected.events")] == ["prepared"]
    assert evidence.rows("collected.absent") == []


def test_secrets_that_files_hold_in_the_end_are_told(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {write: "{state}/deep", directory: true}
          - {write: "{state}/deep/er.log", text: "asked by {token.user}"}
          - {run: "mkfifo {state}/pipe"}
          - {run: "ln -s deep/er.log {state}/link"}
          - {run: "ln -s /dev/zero {state}/endless"}
        """,
    )
    assert evidence.details() == []
    seen = [
        (row["secret"], row["found_at"])
        for row in evidence.rows("secrets")
        if row["found_in"] == "files"
    ]
    assert seen == [("token.user", "deep/er.log")]


def test_a_table_that_cannot_be_taken_breaks_the_run_after_everything_else_is_done(
    tmp_path: Path,
) -> None:
    wrong = [
        msgspec.structs.replace(declared, columns={"nope": "BIGINT"})
        for declared in target().collect[:1]
    ]
    (evidence,) = run(plan(tmp_path, "scenario: [{pause: 1ms}]\n", target=changed(collect=wrong)))
    state, detail = evidence.end
    assert state == "broken"
    assert str(detail).startswith("cannot collect effects: the query does not run: ")
    assert evidence.rows("processes")
    assert evidence.rows("closings")


def prepared_by(command: str, **options: object) -> Target:
    return changed(prepare=[Prepare(run=command, **options)])


NOT_UP: list[tuple[Target, str]] = [
    (
        with_web(env={"EXIT_WITH": "3"}),
        "web exited with 3 before it was ready:\nrefusing to start: told to",
    ),
    (
        with_web(env={"NEVER_READY": "1"}, ready_within=Duration("4s")),
        "web was not ready within 4s:\nwaiting for ever with [redacted]",
    ),
    (with_web(run="no-such-program"), "cannot run 'no-such-program': No such file or directory"),
    (with_web(env={"X": "{nobody}"}), "target trivial uses 'nobody', which nothing has set"),
    (prepared_by("ls /no/such/place"), "`ls /no/such/place` exited with 2:\nls: cannot access"),
    (
        prepared_by("{python} -c 'exit(3)'"),
        f"`{sys.executable} -c 'exit(3)'` exited with 3:",
    ),
    (prepared_by("no-such-program"), "cannot run 'no-such-program'"),
    (prepared_by("sleep 600", within=Duration("50ms")), "`sleep 600` did not end within 50ms"),
    (
        prepared_by("echo no json", capture={"x": "$.x"}),
        "cannot capture from the output of `echo no json`: ",
    ),
    (
        prepared_by("echo 5", capture={"x": "$.x"}),
        "the output of `echo 5` has nothing at $.x",
    ),
    (
        changed(links={"a->web": LinkSpec(to="web")}),
        "target trivial has links, which need Toxiproxy",
    ),
]


@pytest.mark.parametrize(("made", "message"), NOT_UP, ids=[words[:30] for _, words in NOT_UP])
def test_a_target_that_does_not_come_up_says_why_and_is_gone(
    tmp_path: Path, made: Target, message: str
) -> None:
    (evidence,) = run(plan(tmp_path, "scenario: [{request: {get: /readyz}}]\n", target=made))
    state, detail = evidence.end
    assert state == "broken"
    assert str(detail).startswith(message)
    assert evidence.outcomes() == []
    assert evidence.rows("closings")


def test_one_process_that_fails_ends_the_waiting_for_the_others(tmp_path: Path) -> None:
    base = with_web(env={"NEVER_READY": "1"}, ready_within=Duration("1h"))
    other = msgspec.structs.replace(base.processes["other"], env={"EXIT_WITH": "3"})
    both = msgspec.structs.replace(base, processes={**base.processes, "other": other})
    (evidence,) = run(plan(tmp_path, "", needs=["web", "other"], target=both))
    assert str(evidence.end[1]).startswith("other exited with 3")


def test_a_nominal_port_that_is_in_use_is_named_with_who_listens_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (evidence,) = run(plan(tmp_path, "", target=with_web(port=port), nominal_ports=True))
    assert evidence.end[0] == "broken"
    assert str(evidence.end[1]).startswith(f"port {port} is in use: process {os.getpid()} (")


def test_a_target_starts_with_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI_TOKEN", "NAMED", "PYTHONPATH", "HTTP_PROXY"):
        monkeypatch.setenv(name, "of the harness")
    monkeypatch.setenv("LANG", "C.UTF-8")
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {get: /environment}
            expect: {json: {CI_TOKEN: absent, HTTP_PROXY: absent, PYTHONPATH: absent, NAMED: of the harness, LANG: C.UTF-8}}
          - {run: "{python} -c 'import os, json; print(json.dumps(dict(os.environ)))'", expect: {output: {CI_TOKEN: absent, NAMED: of the harness}}}
        """,
        target=changed(environment=["NAMED", "NOT_SET_ANYWHERE"]),
    )
    assert evidence.details() == []
    (known,) = [row["response"] for row in evidence.rows("responses")]
    assert isinstance(known, dict)
    own = {"PYTHONDONTWRITEBYTECODE", "PORT", "GREETING", "NAMED"}
    others = {name for name in known if not name.startswith("CHAOS_")}
    assert others - {"PATH", "HOME", "LANG", "TMPDIR", "LC_CTYPE"} <= own


def test_with_nominal_ports_a_process_listens_on_its_own(tmp_path: Path) -> None:
    pool = PortPool()
    ports = [pool.take() for _ in range(3)]
    pool.release()
    pairs = zip(target().processes.items(), ports, strict=True)
    processes = {name: msgspec.structs.replace(spec, port=port) for (name, spec), port in pairs}
    evidence = run_steps(
        tmp_path,
        "scenario: [{watch: all, sockets: true, meanwhile: [{pause: 1ms}]}]\n",
        target=changed(processes=processes),
        nominal_ports=True,
    )
    assert {row["port"] for row in evidence.rows("sockets")} == {ports[0]}


def test_with_nominal_ports_it_is_a_proxy_that_has_them(tmp_path: Path) -> None:
    pool = PortPool()
    ports = [pool.take() for _ in range(2)]
    pool.release()
    base = target("linked")
    pairs = zip(base.processes.items(), ports, strict=True)
    processes = {name: msgspec.structs.replace(spec, port=port) for (name, spec), port in pairs}
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /environment}, expect: {json: {OTHER_URL: "http://127.0.0.1:PORT"}}}
          - {watch: all, sockets: true, meanwhile: [{pause: 1ms}]}
        """.replace("PORT", str(ports[1])),
        needs=["web", "other"],
        target=msgspec.structs.replace(base, processes=processes),
        nominal_ports=True,
        toxiproxy=toxiproxy(),
    )
    assert evidence.details() == []
    listening = {row["port"] for row in evidence.rows("sockets")}
    assert len(listening) == 2
    assert not listening & set(ports)


def test_the_configuration_of_the_gate_is_merged_before_the_start(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /config}, expect: {text: "a:\\n  b: 1\\n"}}
        """,
        config={"a": {"b": 1}},
    )
    assert evidence.details() == []
    assert evidence.rows("runs")[0]["config"] == {"a": {"b": 1}}
    (broken,) = run(plan(tmp_path, "", config={"a": 1}, target=changed(config=None)))
    assert broken.end == (
        "broken",
        "target trivial names no `config` file that could be changed",
    )


def test_the_state_directory_is_kept_where_asked_for(tmp_path: Path) -> None:
    (evidence,) = run(plan(tmp_path, "", keep=True))
    kept = Path((evidence.directory / "output" / "state-directory.txt").read_text().strip())
    assert (kept / "state" / "trivial.db").exists()


def test_a_full_disk_ends_the_run_and_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    one = plan(
        tmp_path,
        """
        scenario:
          - repeat: 1000
            steps: [{request: {get: /asked}}]
          - {request: {get: /asked}, name: after}
        """,
    )

    async def full_while_running() -> None:
        worker = Worker("test")
        running = asyncio.create_task(worker.run(one))
        while not (one.directory / "requests.jsonl").exists():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.001)
        try:
            with no_file_above(40_000):
                await running
        finally:
            await worker.close()

    asyncio.run(full_while_running())
    evidence = Evidence(one.directory)
    state, detail = evidence.end
    assert state == "broken"
    assert re.match(r"cannot record to \w+\.jsonl: ", str(detail))
    recorded = evidence.requests()
    assert 20 < len(recorded) < 1000
    assert "after" not in {row["step"] for row in recorded}
    assert evidence.rows("processes")[0]["ended_by"] == "teardown"


RUNNER = '''
import asyncio, sys
from pathlib import Path
from chaos.engine.run import Worker
from tests.builders.gate_runs import plan

STEPS = """
scenario:
  - {request: {get: /readyz}}
  - {pause: 1h}
"""

async def main():
    worker = Worker()
    try:
        await worker.run(plan(Path(sys.argv[1]), STEPS))
    finally:
        await worker.close()

asyncio.run(main())
'''


@contextlib.contextmanager
def a_run_that_waits(
    tmp_path: Path, scratch: Path
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A runner in the middle of a run, and what marks it and everything that it starts."""
    # The one of these that a clean environment hands on.
    marked = {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)],
        env={**os.environ, **marked},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert until(lambda: list(tmp_path.glob("evidence-*/steps.jsonl")))
        yield process, f"TMPDIR={scratch}"
    finally:
        process.kill()
        process.wait()


def test_ctrl_c_closes_the_evidence_as_interrupted(tmp_path: Path, scratch: Path) -> None:
    with a_run_that_waits(tmp_path, scratch) as (process, mark):
        assert len(marked_processes(mark)) > 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
        assert marked_processes(mark) == set()
    (directory,) = tmp_path.glob("evidence-*")
    evidence = Evidence(directory)
    assert evidence.end == ("interrupted", "the run was interrupted")
    assert evidence.outcomes() == [("scenario.0", "ok"), ("scenario.1", "error")]
    assert evidence.details() == ["interrupted"]
    assert evidence.rows("processes")[0]["ended_by"] == "teardown"
    assert evidence.rows("closings")


def test_a_killed_runner_leaves_no_process_and_keeps_what_was_recorded(
    tmp_path: Path, scratch: Path
) -> None:
    with a_run_that_waits(tmp_path, scratch) as (process, mark):
        process.kill()
        process.wait()
        assert until(lambda: not marked_processes(mark))
    (directory,) = tmp_path.glob("evidence-*")
    evidence = Evidence(directory)
    assert evidence.outcomes() == [("scenario.0", "ok")]
    assert evidence.rows("run_ends") == []
    assert evidence.rows("closings") == []


def marked_processes(mark: str) -> set[int]:
    return marked(table(), mark.encode(), 0)


READS = "scenario: [{request: {get: /asked}, name: asked, as: user}]\n"


def pids(evidence: Evidence) -> list[object]:
    """The process that answered, told by itself."""
    answers = [row["response"] for row in evidence.requests()]
    return [answer["pid"] for answer in answers if isinstance(answer, dict)]


def test_gates_that_only_read_share_a_stack_and_each_has_its_own_evidence(
    tmp_path: Path,
) -> None:
    made = [
        plan(tmp_path, READS, shared=True),
        plan(tmp_path, READS, shared=True),
        plan(tmp_path, READS, shared=True, config={"a": 1}),
        plan(tmp_path, READS),
        plan(tmp_path, READS, shared=True),
    ]
    evidence = run(*made)
    first, second, other, own, again = (pids(one) for one in evidence)
    assert first == second
    assert len({*map(tuple, (first, other, own, again))}) == 4
    for one, planned in zip(evidence, made, strict=True):
        assert one.end == ("completed", None)
        rows = one.rows("requests") + one.rows("steps")
        assert {row["run_id"] for row in rows} == {planned.run_id}
        assert b"trivial-token" not in one.written()
        assert float(str(one.requests()[0]["sent_ms"])) >= 0
    assert [len(one.rows("processes")) for one in evidence] == [0, 0, 0, 1, 0]


def test_a_step_that_is_exclusive_waits_until_it_is_alone_and_begins_then(tmp_path: Path) -> None:
    steps = """scenario:
  - {name: beside, request: {get: /add}}
  - {name: alone, exclusive: true, parallel: [[{request: {get: /add}}]]}
  - {name: beside again, request: {get: /add}}
"""
    one = plan(tmp_path, steps)
    turns: list[str] = []

    @contextlib.asynccontextmanager
    async def alone() -> AsyncIterator[None]:
        await asyncio.sleep(0.05)
        turns.append("taken")
        yield
        turns.append("given back")

    async def walk() -> None:
        worker = Worker("test")
        try:
            await worker.run(one, alone)
        finally:
            await worker.close()

    asyncio.run(walk())
    ended = {row["name"]: row for row in Evidence(one.directory).rows("steps")}
    before, began = ended["beside"]["ended_ms"], ended["alone"]["began_ms"]
    assert isinstance(before, float)
    assert isinstance(began, float)
    assert began - before >= 50
    assert turns == ["taken", "given back"]


def test_a_shared_stack_whose_process_has_ended_is_not_used_again(tmp_path: Path) -> None:
    killing = "scenario: [{request: {get: /asked}}, {kill: web}]\n"
    evidence = run(plan(tmp_path, killing, shared=True), plan(tmp_path, READS, shared=True))
    assert [one.end[0] for one in evidence] == ["completed"] * 2
    assert pids(evidence[0]) != pids(evidence[1])
    assert evidence[1].requests()[0]["status"] == 200


def test_a_shared_stack_that_does_not_come_up_breaks_only_its_own_run(tmp_path: Path) -> None:
    wrong = with_web(env={"EXIT_WITH": "3"})
    first, second = run(
        plan(tmp_path, READS, shared=True, target=wrong), plan(tmp_path, READS, shared=True)
    )
    assert str(first.end[1]).startswith("web exited with 3")
    assert second.end == ("completed", None)


def test_links_lead_through_toxiproxy_and_are_told_to_the_client(tmp_path: Path) -> None:
    (tmp_path / "get.py").write_text(
        "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"
    )
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {request: {get: /environment}, capture: {url: $.OTHER_URL}}
          - {request: {get: /echo}, via: client->web, expect: {json: {peer: 127.0.0.1}}}
          - {run: "{python} SCRIPT {url}/readyz", expect: {output: 200}}
          - {request: {get: /environment}, to: other, expect: {json: {OTHER_URL: absent}}}
        """.replace("SCRIPT", str(tmp_path / "get.py")),
        needs=["web", "other"],
        target=target("linked"),
        toxiproxy=toxiproxy(),
    )
    assert evidence.details() == []
    assert evidence.requests()[1]["link"] == "client->web"
    connections = {(row["link"], row["own"]) for row in evidence.rows("link_connections")}
    assert connections == {("client->web", True), ("web->other", True)}
    assert (evidence.directory / "output" / "toxiproxy.log").exists()


def test_an_exercise_records_what_every_link_carried(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        "scenario: [{request: {get: /page}, via: client->web}]\n",
        needs=["web", "other"],
        target=target("linked"),
        toxiproxy=toxiproxy(),
        link_check=True,
    )
    links = {str(row["link"]): row for row in evidence.rows("links")}
    own = {name: row["own_connections"] for name, row in links.items()}
    assert own == {"client->web": 1, "web->other": 0}
    carried = [int(str(links["client->web"][f"{way}_bytes"])) for way in ("sent", "received")]
    assert max(carried) > 20_000
    assert min(carried) > 20


def test_a_toxiproxy_that_dies_breaks_the_run(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "kill.py").write_text(
        "import os, sys\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try:\n"
        "        links = [os.readlink(f'/proc/{pid}/{name}') for name in ('fd/1', 'exe')]\n"
        "    except OSError:\n"
        "        continue\n"
        "    if links[0].startswith(sys.argv[1]) and 'toxiproxy' in links[1]:\n"
        "        os.kill(int(pid), 9)\n"
    )
    one = plan(
        tmp_path,
        """
        scenario:
          - {request: {get: /readyz}, via: client->web, expect: {status: 200}}
          - {run: "{python} SCRIPT SCRATCH"}
          - {await: {get: /readyz}, via: client->web, expect: {outcome: error}}
        """.replace("SCRIPT", str(tmp_path / "kill.py")).replace("SCRATCH", str(scratch)),
        target=target("linked"),
        toxiproxy=toxiproxy(),
    )
    (evidence,) = run(one)
    assert evidence.outcomes() == [(f"scenario.{n}", "ok") for n in range(3)]
    state, detail = evidence.end
    assert state == "broken"
    assert "Toxiproxy" in str(detail)


def test_what_a_process_started_ends_with_the_run(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where every number has been used before by some child. (Until it has left the group it would end with the command.)
    monkeypatch.setattr(guard, "_started_here", dict.fromkeys(range(1 << 22), 0))
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {run: "sh -c 'setsid sleep 600 > {state}/out 2>&1 & until grep -q sleep /proc/$!/comm; do :; done; echo $!'", capture: {pid: $}}
          - {run: "test -d /proc/{pid}"}
        """,
    )
    assert evidence.details() == []
    output = str(evidence.rows("commands")[0]["output"])
    assert until(lambda: not Path(f"/proc/{output.strip()}").exists())
