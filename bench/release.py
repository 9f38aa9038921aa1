"""(e) What a release with its proofs costs: judging and verifying it, its size, and proving beside running.

The release is that of 66 small gates with one defect each, run and proven for this; what was released last in this
repository, which may be much larger, is looked at in the same way.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import duckdb
import msgspec

from bench import bare_server
from bench.harness import MOST_S
from bench.judge import last_release
from bench.processes import ROOT
from bench.report import Measured, unmeasured
from chaos.errors import HarnessError
from gates.prove.evaluate import Proofs
from gates.release.proofs import stored_proofs
from gates.release.report import Report
from gates.release.stored import stored_report

PART = "e"
FLOOR = 48
DELTA = 18
GATES = FLOOR + DELTA
SMALL = f"{GATES} small gates"
LAST = "the last release"
VERIFYING = "verifying {what} with proofs against judging it (time)"
PROVING = "one trial of a proof against one run of its gate, {what} (time)"
SIZES = {
    "the release directory": ".",
    "gate-report.json": "gate-report.json",
    "gate-report.html": "gate-report.html",
}
AT_FIRST = b'"status":"ok"'

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "canned"
version = "1.0"
[tool.hatch.build.targets.wheel]
packages = ["canned"]
"""
RELEASE = """\
release: v1.0.0
title: A server of canned bytes
contract_version: v1.0.0
contract: none
target: canned
floor: %(floor)d
delta: %(delta)d
epics: [A]
config: {}
source: [canned, specs]
gates: %(gates)s
invariants:
  - {id: complete, statement: All gates are there, check: counts}
  - {id: one-system, statement: All ran against the same, check: same-digests}
  - {id: pinned, statement: The floor is the same, check: pins}
  - {id: committed, statement: All is committed, check: clean-source}
limits: []
"""
TARGET = """\
target: canned
source: [canned]
processes:
  canned:
    run: "{python} -m canned.server {port.canned}"
    port: 7000
    ready: GET /x
"""
GATE = """\
gate: %(gate)s
id: %(id)s
class: %(class)s
%(epic)s
title: A server of canned bytes answers a hundred requests
why: What is proven of it is as little as can be
target: canned
control:
  - request: {get: /x}
    expect: {status: 200}
scenario:
  - load: many
    rate: 500/s
    for: 200ms
    send: {get: "/{i}"}
with:
  answers:
    query: SELECT seq, response->>'$.status' AS said FROM requests WHERE load = 'many'
    at_least: 100
assert:
  - that: every request is answered
    from: requests where load = 'many'
    at_least: 100
    every: response->>'$.status' = 'ok'
  - that: nearly all answers are good
    from: answers
    at_least: 100
    share: said = 'ok'
    is: ">= 0.95"
falsified_by:
  - defect: it says no
    file: canned/server.py
    replace: '"status":"ok"'
    with: '"status":"no"'
    fails: [every request is answered, nearly all answers are good]
"""


def measure(rounds: int, _: int) -> list[Measured]:
    """Of the small gates, and of the last release where there is one."""
    with tempfile.TemporaryDirectory(prefix="bench-release-") as name:
        small = list(looked_at(released(Path(name)), SMALL, rounds))
    return [*small, *of_last(last_release(), rounds)]


def of_last(release: Path | None, rounds: int) -> list[Measured]:
    """The same of what was released last, which may have been made by other code than this."""
    if release is None or not (release / "manifest.json").is_file():
        why = "there is no release with its evidence: `nox -s release` makes one"
        return [unmeasured(PART, VERIFYING.format(what=LAST), None, why)]
    try:
        return list(looked_at(release, f"{LAST}, {release.name}", rounds))
    except (RuntimeError, HarnessError) as error:
        return [unmeasured(PART, VERIFYING.format(what=LAST), None, str(error))]


def released(home: Path) -> Path:
    """Run and prove the small gates; where their release lies. RuntimeError when it is not promoted."""
    write(home)
    for arguments in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "bench"],
    ):
        subprocess.run(["git", "-C", str(home), *arguments], check=True, timeout=MOST_S)
    gates_s(home, "run", "--prove", "--workers", "2")
    return home / "releases" / "v1.0.0"


def write(home: Path) -> None:
    """A server of its own, whose source can have defects, and the specs of its gates."""
    for folder in ("canned", "specs/targets", "specs/gates"):
        (home / folder).mkdir(parents=True)
    source = Path(bare_server.__file__).read_bytes()
    assert source.count(AT_FIRST) == 1
    (home / "canned/__init__.py").touch()
    (home / "canned/server.py").write_bytes(source)
    (home / "pyproject.toml").write_text(PYPROJECT)
    (home / ".gitignore").write_text("/runs/\n/releases/\n__pycache__/\n")
    (home / "specs/targets/canned.yaml").write_text(TARGET)
    gates = [small_gate(number) for number in range(GATES)]
    for gate in gates:
        (home / f"specs/gates/{gate['gate']}.yaml").write_text(GATE % gate)
    listed = [{**gate, "since": "v1.0.0"} for gate in gates]
    for entry in listed:
        del entry["epic"]
    text = RELEASE % {
        "floor": FLOOR,
        "delta": DELTA,
        "gates": msgspec.json.encode(listed).decode(),
    }
    (home / "specs/release.yaml").write_text(text)


def small_gate(number: int) -> dict[str, str]:
    """Names of one gate: the floor first, then the delta."""
    named = {"gate": f"small-{number:02d}"}
    if number < FLOOR:
        return {**named, "id": f"F{number + 1:02d}", "class": "floor", "epic": ""}
    return {**named, "id": f"A{number + 1 - FLOOR}", "class": "delta", "epic": "epic: A"}


def gates_s(home: Path, *arguments: str, code: int = 0) -> float:
    """Seconds that one command takes, its start included; RuntimeError when it exits with anything but `code`."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gates", *arguments],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    took_s = time.monotonic() - began_s
    if done.returncode != code:
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise RuntimeError(f"gates {arguments[0]} came to {done.returncode}:\n{said}")
    return took_s


def looked_at(release: Path, what: str, rounds: int) -> Iterator[Measured]:
    """Everything that is measured of one release."""
    yield verifying(release, what, rounds)
    report, proofs = stored_report(release), stored_proofs(release)
    if not proofs.trials:
        yield unmeasured(PART, PROVING.format(what=what), None, "it was released without proofs")
    elif made_before(report):
        yield unmeasured(PART, PROVING.format(what=what), None, "its proofs were made before it")
    else:
        yield proving(release, what, report, proofs)
    for name, path in SIZES.items():
        yield sized(release / path, f"{name} per gate, {what} (KiB)", len(report.gates))


def made_before(report: Report) -> bool:
    """Whether some trials are older than the release: then how they are dated does not say how long they took."""
    return any(one.at < report.timestamp for gate in report.gates for one in gate.made.values())


def verifying(release: Path, what: str, rounds: int) -> Measured:
    """Both commands as they are typed, in turns."""
    report, proofs = stored_report(release), stored_proofs(release)
    judging: list[float] = []
    checking: list[float] = []
    for _ in range(rounds):
        judging.append(gates_s(release, "judge", ".", code=report.exit_code))
        checking.append(gates_s(release, "verify", "."))
    return Measured(
        part=PART,
        what=VERIFYING.format(what=what),
        ratio=median(check / judge for judge, check in zip(judging, checking, strict=True)),
        values={
            "judge s": median(judging),
            "verify s": median(checking),
            "gates": len(report.gates),
            "trials of proofs": len(proofs.trials),
        },
        note="the time of both commands, starting them included; judging judges every trial again, too",
    )


def proving(release: Path, what: str, report: Report, proofs: Proofs) -> Measured:
    """What a worker spends on a trial, over what the same gate's own run took: how its records are dated says both."""
    own_s = {gate.name: gate.duration_s for gate in report.gates}
    busy_s = span_s(release, [trial.run_id for trial in proofs.trials]) * report.workers
    trials = len(proofs.trials)
    running_s = sum(own_s[trial.gate] for trial in proofs.trials)
    return Measured(
        part=PART,
        what=PROVING.format(what=what),
        ratio=busy_s / running_s,
        values={
            "trial s": busy_s / trials,
            "own run s": running_s / trials,
            "trials": trials,
            "defects": sum(trial.kind == "defect" for trial in proofs.trials),
        },
        note=f"{report.workers} workers; copying, editing, starting and judging included, and workers without work",
    )


def span_s(release: Path, run_ids: list[str]) -> float:
    """Seconds from the begin of the first of some trials to the end of the last."""
    runs = str(release / "proofs" / "evidence" / "runs.parquet")
    with duckdb.connect() as connection:
        (found,) = connection.execute(
            "SELECT max(epoch_ms + finished_ms) - min(epoch_ms) FROM read_parquet(?)"
            " WHERE list_contains(?, run_id)",
            [runs, run_ids],
        ).fetchone() or (None,)
    if found is None:
        raise HarnessError(f"{runs} has none of the trials")
    return float(found) / 1000


def sized(path: Path, what: str, gates: int) -> Measured:
    """KiB of a file, or of all files below a directory, per gate."""
    if not path.exists():
        return unmeasured(PART, what, None, f"{path.name} is not there")
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    total = sum(one.stat().st_size for one in files)
    return Measured(
        part=PART,
        what=what,
        ratio=total / 1024 / gates,
        values={"bytes": total, "gates": gates},
    )
