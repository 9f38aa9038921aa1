"""A release from one end to the other: gates, proofs, verification, and the release before it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from gates.release.report import EXIT_BROKEN, EXIT_FAILED, EXIT_PROMOTE, EXIT_UNKNOWN
from tests.e2e.command import Command, until

SERVER = """\
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        allowed = self.headers.get("Authorization") == "Bearer right"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

TARGET = """\
target: door
source: [door]
processes:
  web: {run: "{python} door/server.py {port.web}", port: 8000}
actors:
  friend: {bearer: right}
  stranger: {bearer: wrong}
links:
  client->web: {to: web, probe: {get: /}}
exercise:
  - request: {get: /}
    as: friend
    via: client->web
"""

LATE = """\
gate: late
id: A2
class: delta
epic: A
title: Over a slow link friends come in late
why: A check of the harness
target: door
control: [{request: {get: /}, as: friend, via: client->web, expect: {status: 200}}]
scenario:
  - {latency: client->web, delay: 100ms, name: slow}
  - {load: calls, as: friend, via: client->web, rate: 20/s, for: 1s, send: {get: /}}
  - clear: slow
assert:
  - that: calls were late
    from: requests where list_contains(during, 'slow')
    at_least: 15
    every: status = 200 and service_ms >= 95
    killed_by_sham: true
"""

GATE = """\
gate: closed
id: A1
class: delta
epic: A
title: Strangers stay outside
why: A check of the harness
target: door
control: [{request: {get: /}, as: friend, expect: {status: 200}}]
scenario:
  - {load: knocks, as: stranger, rate: 20/s, for: 500ms, send: {get: /}}
assert:
  - that: nobody gets in
    from: requests where actor = 'stranger'
    at_least: 10
    every: status = 401
falsified_by:
  - defect: the door is open
    file: door/server.py
    replace: self.send_response(200 if allowed else 401)
    with: self.send_response(200)
    fails: [nobody gets in]
"""

RELEASE = """\
release: v2
title: A door
contract_version: v1
contract: none.json
target: door
floor: 0
delta: 2
epics: [A]
config: {}
source: [door, specs]
gates:
  - {id: A1, gate: closed, class: delta, since: v2}
  - {id: A2, gate: late, class: delta, since: v2}
invariants:
  - {id: complete, statement: All gates are there, check: counts}
  - {id: committed, statement: All is committed, check: clean-source}
limits: []
baseline: {closed: the door is open}
"""

ALONE = ("--workers", "1")
"""Where it is all the same to what is shown: each worker more is the start of a process more."""


@pytest.fixture
def door(tmp_path: Path) -> Command:
    """A repository with a small system and its one gate."""
    for name, text in {
        "door/server.py": SERVER,
        "specs/targets/door.yaml": TARGET,
        "specs/gates/closed.yaml": GATE,
        "specs/gates/late.yaml": LATE,
        "specs/release.yaml": RELEASE,
        ".gitignore": "/*\n!/door/\n!/specs/\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["init", "-q"], ["add", "door", "specs"], [*identity, "commit", "-qm", "t"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=30)
    return Command(tmp_path)


def test_a_release_is_made_verified_and_compared_with_the_one_before(door: Command) -> None:
    assert door.finish("keygen", "key").exit == EXIT_PROMOTE
    made = door.finish("run", "--prove", "--key", "key")
    assert made.exit == EXIT_PROMOTE, made.output
    assert "proven   A1 closed: 1 of 1 defects and shams" in made.output
    assert "proven   A2 late: 1 of 1 defects and shams" in made.output
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=door.directory, check=True, capture_output=True, text=True
    ).stdout.strip()
    outside = ("--commit", commit, "--policy", "specs/release.yaml", "--key", "key.pub")
    verified = door.finish("verify", "releases/v2", *outside)
    assert verified.exit == EXIT_PROMOTE, verified.output
    assert "consistent, and authenticated by commit, policy, key" in verified.output

    report = json.loads((door.directory / "releases/v2/gate-report.json").read_text())
    gate, late = report["gates"]
    assert gate["proven"] is late["proven"] is True
    assert late["assertions"][0]["killed_by"] == ["sham"]
    assert gate["assertions"][0]["killed_by"] == ["the door is open"]
    (defect,) = gate["defects"]
    assert defect["proven"] is True
    assert "+        self.send_response(200)" in defect["diff"]
    assert defect["measured"] == {"nobody gets in": "10 of 10 rows violating it"}

    before = door.finish("baseline", *ALONE)
    assert before.exit == EXIT_PROMOTE, before.output
    assert "delta 1/2" in before.output
    compared = door.finish("diff", "releases/v2-baseline", "releases/v2")
    assert "better    status: FAIL → PASS" in compared.output, compared.output

    path = door.directory / "releases/v2/evidence/requests.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    spoiled = door.finish("verify", "releases/v2")
    assert spoiled.exit == EXIT_FAILED
    assert "evidence/requests.parquet: changed" in spoiled.output
    assert door.left_behind() == [] and door.processes() == {}


def test_without_proofs_nothing_is_promoted(door: Command) -> None:
    made = door.finish("run", *ALONE)
    assert made.exit == EXIT_UNKNOWN, made.output
    assert "HOLD (proofs are missing of A1 closed, A2 late: `python -m gates prove`" in made.output
    assert door.finish("verify", "releases/v2").exit == EXIT_PROMOTE


def test_an_interrupted_proof_goes_on_and_is_shipped_with_the_release(door: Command) -> None:
    door.start("prove", *ALONE)
    until(lambda: "1/4" in (door.directory / "output.txt").read_text(), "the first trial ends")
    os.killpg(door.pid, signal.SIGINT)
    stopped = door.end()
    assert stopped.exit == EXIT_BROKEN, stopped.output
    assert "the same command goes on where this one stopped" in stopped.output
    assert door.processes() == {}
    assert door.left_behind() == []
    finished = door.finish("prove", *ALONE)
    assert finished.exit == EXIT_PROMOTE, finished.output
    assert 1 <= finished.output.count("(kept)") < 4, finished.output

    made = door.finish("run", *ALONE)
    assert made.exit == EXIT_PROMOTE, made.output
    assert door.finish("verify", "releases/v2").exit == EXIT_PROMOTE
    report = json.loads((door.directory / "releases/v2/gate-report.json").read_text())
    began = report["timestamp"]
    assert all(made["at"] < began for gate in report["gates"] for made in gate["made"].values())
    assert [sorted(gate["made"]) for gate in report["gates"]] == [
        ["control", "the door is open"],
        ["control", "sham"],
    ]
    again = door.finish("prove", *ALONE)
    assert again.exit == EXIT_PROMOTE and again.output.count("(kept)") == 4, again.output


def test_a_key_that_cannot_sign_is_said_before_anything_runs(door: Command) -> None:
    made = door.finish("run", "--prove", "--key", "none")
    assert made.exit == EXIT_BROKEN
    assert not (door.directory / "releases").exists()
