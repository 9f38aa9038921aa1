"""Mutants of the trivial target, from the command line to the report: each comes to what it must come to."""

import io
import os
import shutil
import signal
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chaos.errors import HarnessError, SpecError
from gates.cli import parser
from gates.mutants import by_gates
from gates.mutants.mutations import digest_of
from gates.mutants.report import MutantReport
from gates.release.report import EXIT_BROKEN, EXIT_FAILED, EXIT_PROMOTE
from tests.builders.gate_runs import TARGETS
from tests.e2e.command import Command, until

RULES = '''\
"""What the shop on top of the trivial server adds."""
LIMIT = 3
UNSEEN = True
SHIFT = 0
PAUSE = 0


def greets(path: str) -> bool:
    return path == "/greet"


def never(a: int, b: int) -> bool:
    return a < b
'''
SHOP = """\
import asyncio, os, pathlib, sys, time, trivial, rules
class Shop(trivial.Server):
    def answer(self, method, path, headers, body, peer):
        if path == "/limit":
            time.sleep(60 * rules.PAUSE)
            return trivial.response(200, {"limit": rules.LIMIT, "seen": bool(rules.UNSEEN) or True})
        if rules.greets(path):
            return trivial.response(200, {"hello": "you"})
        return super().answer(method, path, headers, body, peer)
asyncio.run(Shop(pathlib.Path(sys.argv[1])).serve(int(os.environ["PORT"]) + rules.SHIFT))
"""
TARGET = """\
target: shop
source: [app]
processes:
  web:
    run: "{python} app/shop.py {state}"
    port: 7300
    ready: GET /readyz
    ready_within: 2s
    stop_within: 200ms
    env: {PORT: "{port.web}"}
actors: {somebody: {}}
"""
GATE = """\
gate: %(name)s
id: %(id)s
class: delta
title: t
why: w
target: shop
guards: [%(guards)s]
control:
  - request: {get: /readyz}
    expect: {status: 200}
scenario:
  - request: {get: %(path)s}
    name: asked
assert:
  - that: it is told
    from: requests where step = 'asked'
    at_least: 1
    every: "status = 200 and %(holds)s"
falsified_by:
  - defect: d
    file: app/rules.py
    replace: LIMIT = 3
    with: LIMIT = 4
    fails: [it is told]
"""
SLOWEST_S = 3.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two gates; its mutants may take not much longer than it takes itself."""
    files = {
        "pyproject.toml": "",
        "app/rules.py": RULES,
        "app/shop.py": SHOP,
        "specs/targets/shop.yaml": TARGET,
    }
    for name, gate_id, path, holds, guards in (
        ("limits", "G1", "/limit", "response->>'$.limit' = '3'", "app/rules.py"),
        ("greets", "G2", "/greet", "response->>'$.hello' = 'you'", "app"),
    ):
        values = {"name": name, "id": gate_id, "path": path, "holds": holds, "guards": guards}
        files[f"specs/gates/{name}.yaml"] = GATE % values
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(TARGETS / "trivial.py", tmp_path / "app" / "trivial.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(by_gates, "LIMIT_S", SLOWEST_S)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    """`python -m gates mutants …` in this process; returns its exit code and all that it printed."""
    options = parser().parse_args(["mutants", *arguments])
    console = Console(width=200, record=True, file=io.StringIO())
    code = options.act(options, console)
    return code, console.export_text()


def outcomes(report: MutantReport) -> dict[tuple[str, str], str]:
    """What became of each mutant, by line and by what it was changed to."""
    return {
        (RULES.splitlines()[each.line - 1], added(each.diff)): each.outcome
        for each in report.mutants
    }


def added(diff: str) -> str:
    """The line that a diff adds."""
    return next(line[1:].strip() for line in diff.splitlines()[2:] if line.startswith("+"))


def read(path: str) -> MutantReport:
    return msgspec.json.decode(Path(path).read_bytes(), type=MutantReport)


def test_mutants_of_a_gate(root: Path) -> None:
    code, printed = run("G1", "-o", "out.json")
    assert code == EXIT_FAILED, printed
    report = read("out.json")
    (place,) = root.glob("runs/*Z-*/mutants/mutants.json")
    assert place.read_bytes() == Path("out.json").read_bytes()
    assert outcomes(report) == {
        ("LIMIT = 3", "LIMIT = 4"): "killed",
        ("LIMIT = 3", "LIMIT = 30"): "killed",
        ("UNSEEN = True", "UNSEEN = False"): "survived",
        ("SHIFT = 0", "SHIFT = 1"): "not viable",
        ("PAUSE = 0", "PAUSE = 1"): "timed out",
        # Called on the way to ready, and nothing that this gate asks for depends on it.
        ('    return path == "/greet"', "return None"): "survived",
        ('    return path == "/greet"', 'return path != "/greet"'): "survived",
        ('    return path == "/greet"', 'return path == "XX/greet"'): "survived",
    }
    assert report.by == "gates"
    total = report.total
    assert (total.killed, total.survived, total.timed_out, total.not_viable) == (2, 4, 1, 1)
    # Of the function that nobody calls: its comparison, and what it returns.
    assert total.unreached == 2
    assert total.share == total.share_without_equivalent == 2 / 7
    assert report.killers == {"limits": total}
    assert "+UNSEEN = False" in printed
    assert "28.5 % killed" in printed
    assert "90.0 % of each are asked for; missed by limits" in printed
    assert_nothing_is_left(root)

    survivor = next(each for each in report.mutants if added(each.diff) == "UNSEEN = False")
    entry = {"file": survivor.file, "diff": survivor.diff, "sha256": survivor.sha256, "reason": "r"}
    gone = {**entry, "diff": "-a\n+b\n", "sha256": digest_of("-a\n+b\n")}
    write_equivalents(root, entry, gone)
    code, printed = run("G1", "--least", "0.33", "-o", "out.json")
    assert code == EXIT_PROMOTE, printed
    assert printed.count("(kept)") == 9
    report = read("out.json")
    assert (report.total.share, report.total.share_without_equivalent) == (2 / 7, 2 / 6)
    assert report.stale == [f"app/rules.py: {gone['sha256']}"]
    assert "+UNSEEN = False" not in printed


def test_each_gate_is_asked_about_what_it_guards(root: Path) -> None:
    code, printed = run("--sample", "3", "--list")
    assert code == EXIT_PROMOTE
    listed = [line for line in printed.splitlines() if " app/" in line]
    assert len([line for line in listed if line.startswith("limits app/rules.py:")]) == 3
    assert len([line for line in listed if line.startswith("greets app/")]) == 3
    assert list(root.glob("runs/*Z-*/mutants/mutants.json")) == []


def test_a_gate_that_guards_nothing_is_left_out(root: Path) -> None:
    rewrite(root, "greets", "guards: [app]", "guards: []")
    code, printed = run("--sample", "1", "--list")
    assert code == EXIT_PROMOTE
    assert "greets names no code under `guards`: nothing is drawn for it" in printed


def test_without_any_guards_there_is_nothing_to_draw(root: Path) -> None:
    rewrite(root, "greets", "guards: [app]", "guards: []")
    rewrite(root, "limits", "guards: [app/rules.py]", "guards: []")
    with pytest.raises(HarnessError, match="no gate names code under `guards`"):
        run("--sample", "1", "--list")


def test_a_gate_that_does_not_pass_by_itself_shows_nothing(root: Path) -> None:
    rewrite(root, "greets", "'you'", "'me'")
    with pytest.raises(HarnessError, match="greets is FAIL without any mutant"):
        run("G2", "--sample", "1")


def test_a_file_that_nobody_answers_for_is_refused(root: Path) -> None:
    with pytest.raises(HarnessError, match=r"nothing is drawn in 'app/shop\.py'"):
        run("G1", "--file", "app/shop.py", "--list")


def rewrite(root: Path, gate: str, before: str, after: str) -> None:
    path = root / "specs" / "gates" / f"{gate}.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def test_a_wrong_list_of_equivalents_stops_it_before_anything_runs(root: Path) -> None:
    write_equivalents(root, {"file": "app/rules.py", "diff": "d", "sha256": "0", "reason": "r"})
    with pytest.raises(
        SpecError, match=r"specs/mutants/equivalent\.yaml:4:11: this is not the digest"
    ):
        run("--sample", "1")
    assert not (root / "runs").exists()


def write_equivalents(root: Path, *entries: dict[str, str]) -> None:
    """The reviewed list. JSON is YAML; its diff is on one line."""
    lines = ["equivalent:"]
    for entry in entries:
        pairs = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in entry.items()]
        lines += [f"{'- ' if number == 0 else '  '}{pair}" for number, pair in enumerate(pairs)]
    (root / "specs" / "mutants").mkdir(exist_ok=True)
    (root / "specs" / "mutants" / "equivalent.yaml").write_text("\n".join(lines) + "\n")


def assert_nothing_is_left(root: Path) -> None:
    """Of a run only small results are kept."""
    kept = [path for path in (root / "runs").rglob("*") if path.is_file()]
    assert not [path for path in kept if path.suffix == ".jsonl" or path.name.endswith(".pid")]
    assert sum(path.stat().st_size for path in kept) < 200_000


def test_an_interrupt_ends_everything(root: Path) -> None:
    mutants = Command(root)
    mutants.start("mutants", "G1", "--workers", "2")
    until(lambda: "1/8" in (root / "output.txt").read_text(), "a mutant is done")
    os.kill(mutants.pid, signal.SIGINT)
    ended = mutants.end()
    assert ended.exit == EXIT_BROKEN, ended.output
    assert "Traceback" not in ended.output
    assert mutants.processes() == {}
    assert mutants.left_behind() == []
    assert list(mutants.scratch.glob("gates-*")) == []
