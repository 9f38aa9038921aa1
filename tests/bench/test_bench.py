"""The bench says what it measured, what it could not measure, and whether an aim was met."""

import json
import os
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import incidents, processes
from bench.harness import FEW, Gates, Tavern
from bench.report import Measured, show, unmeasured, write
from gates.incidents.bundle import open_bundle
from tests.builders.incidents import write_incident


def row(ratio: float | None, aim: str | None) -> Measured:
    return Measured(part="c", what="one against another", ratio=ratio, aim=aim)


@pytest.mark.parametrize(
    ("ratio", "aim", "met"),
    [
        (0.6, ">= 0.5", True),
        (0.4, ">= 0.5", False),
        (1.1, "<= 1.15", True),
        (1.2, "<= 1.15", False),
        (1.2, None, None),
        (None, "<= 1.15", None),
    ],
)
def test_an_aim_is_met_only_by_a_measured_ratio(
    ratio: float | None, aim: str | None, met: bool | None
) -> None:
    assert row(ratio, aim).met() is met


def test_what_could_not_be_measured_is_said(tmp_path: Path) -> None:
    output = StringIO()
    rows = [row(0.4, ">= 0.5"), unmeasured("b", "under wrk", ">= 0.85", processes.WRK_MISSING)]
    show(rows, Console(file=output, width=200))
    assert "NOT MET" in output.getvalue()
    assert "not measured" in output.getvalue()
    assert "apt-get install wrk" in output.getvalue()
    write(rows, tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    assert [measured["met"] for measured in document["measured"]] == [False, None]


def fake_wrk(directory: Path, output: str) -> None:
    program = directory / "wrk"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    program.chmod(0o755)


def test_wrk_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_wrk(tmp_path, "  515099 requests in 3.10s, 58.46MB read\nRequests/sec: 166111.56")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert processes.has_wrk()
    cost = processes.wrk("http://127.0.0.1/", 16, 1)
    assert (cost.requests, cost.per_s) == (515099, 166111.56)


def test_answers_that_are_no_successes_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wrk(tmp_path, "10 requests in 1s\nNon-2xx or 3xx responses: 10\nRequests/sec: 10")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match="no successes"):
        processes.wrk("http://127.0.0.1/", 16, 1)


def test_tests_that_did_not_pass_are_not_measured(tmp_path: Path) -> None:
    class Failing(Gates):
        def argv(self) -> list[str]:
            return [sys.executable, "-c", f"print('{FEW - 1} passed, 1 failed')"]

    with pytest.raises(RuntimeError, match="not all of 66 tests passed"):
        Failing(tmp_path, 1).run_s(FEW)


def test_both_sides_send_the_same_requests(tmp_path: Path) -> None:
    Gates(tmp_path, 1).write(tmp_path, 2)
    Tavern(tmp_path, 1, sys.executable, "8000").write(tmp_path, 2)
    gates = [path.read_text() for path in sorted((tmp_path / "specs/gates").iterdir())]
    tests = [path.read_text() for path in sorted(tmp_path.glob("*.tavern.yaml"))]
    assert len(gates) == len(tests) == 2
    assert [text.count("get: /x") for text in gates] == [2, 2]
    assert [text.count("http://127.0.0.1:8000/x") for text in tests] == [2, 2]


def test_a_question_about_an_incident_is_measured_beside_duckdb_alone(tmp_path: Path) -> None:
    bundle = open_bundle(write_incident(tmp_path / "incident", requests=50))
    measured = incidents.scanned(1, bundle)
    assert measured.ratio is not None and measured.aim == "<= 1.3"
    assert measured.values["decisions"] == bundle.manifest.counts["decisions"]
