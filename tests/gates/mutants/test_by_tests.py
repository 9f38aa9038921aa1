"""Tests as killer: which of them are asked, what they say, and what no test executes."""

import io
import textwrap
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chaos.errors import HarnessError
from gates.cli import parser
from gates.mutants import by_tests
from gates.mutants.by_tests import candidates, files_below, selected
from gates.mutants.mutations import Mutation, mutations_of
from gates.mutants.report import MutantReport
from gates.mutants.suite_runs import Watching
from gates.mutants.watched import Execution, Watched
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.run.bench import Bench
from gates.run.lines import Lines
from gates.run.session import Options, open_session
from gates.run.store import Place, Store

RULES = """\
from signal import pause
LIMIT = 3
UNSEEN = "unseen"
def limit():
    return LIMIT + 0
def never():
    return 1
def told():
    while LIMIT < 3:
        pause()
    return "told"
def guarded():
    return 5
"""
TESTS = """\
import subprocess, sys, pathlib, pytest
from app import rules
ROOT = pathlib.Path(rules.__file__).parents[1]

def test_limit():
    assert rules.limit() == 3

def test_in_another_process():
    command = [sys.executable, "-c", "from app import rules; print(rules.told())"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "told\\n"

@pytest.mark.parametrize("name", ["a b", "c"])
def test_unseen(name):
    assert rules.UNSEEN

def test_red():
    assert False
"""
TARGET = "target: shop\nsource: [app]\nprocesses: {web: {run: x, port: 7300}}\nactors: {a: {}}\n"
GATE = """\
gate: guards
id: G1
class: delta
title: t
why: w
target: shop
guards: [app/guarded.py]
control: [{request: {get: /}}]
assert: [{that: a, from: requests, at_least: 1, every: status = 200, killed_by_sham: true}]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a module and its tests, and one that a gate guards."""
    files = {
        "pyproject.toml": "",
        "app/__init__.py": "",
        "app/rules.py": RULES,
        "app/guarded.py": "LIMIT = 1\n",
        "tests/app/test_rules.py": TESTS,
        "specs/targets/shop.yaml": TARGET,
        "specs/gates/guards.yaml": GATE,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(by_tests, "LIMIT_S", 5.0)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    """`python -m gates mutants --tests …` in this process; returns its exit code and all that it printed."""
    options = parser().parse_args(["mutants", *arguments])
    console = Console(width=200, record=True, file=io.StringIO())
    return options.act(options, console), console.export_text()


def added(diff: str) -> str:
    return next(line[1:].strip() for line in diff.splitlines()[2:] if line.startswith("+"))


def test_mutants_of_what_no_gate_guards(root: Path) -> None:
    code, printed = run("--tests", "--sample", "100", "-o", "out.json")
    assert code == EXIT_FAILED, printed
    report = msgspec.json.decode(Path("out.json").read_bytes(), type=MutantReport)
    found = {added(each.diff): each.outcome for each in report.mutants}
    assert found == {
        "LIMIT = 4": "killed",
        "LIMIT = 30": "killed",
        'UNSEEN = "XXunseen"': "survived",
        "return LIMIT + 1": "killed",
        "return LIMIT - 0": "survived",
        "while LIMIT <= 3:": "timed out",
        "while LIMIT < 4:": "timed out",
        "while LIMIT < 30:": "timed out",
        "while not (LIMIT < 3):": "timed out",
        'return "XXtold"': "killed",
    }
    assert report.by == "tests"
    assert report.killers == {"tests": report.total}
    # Of what nobody calls: each constant and its tenfold; and of what nobody waits for.
    assert report.total.unreached == 5
    assert report.modules.keys() == {"app/rules.py"}
    by = {added(each.diff): each.finding.by for each in report.mutants}
    assert by["return LIMIT + 1"] == ["tests/app/test_rules.py::test_limit"]
    assert by['return "XXtold"'] == ["tests/app/test_rules.py::test_in_another_process"]
    assert "left out, as it fails without any mutant: tests/app/test_rules.py::test_red" in printed
    assert '+UNSEEN = "XXunseen"' in printed
    assert list((root / "app").rglob("*.pyc")) == []

    code, printed = run("--tests", "--sample", "100", "--least", "0.4", "--workers", "1")
    assert code == EXIT_PROMOTE, printed
    assert printed.count("(kept)") == 11
    path = root / "tests" / "app" / "test_rules.py"
    path.write_text(
        path.read_text().replace("assert rules.UNSEEN", 'assert rules.UNSEEN == "unseen"')
    )
    code, printed = run("--tests", "--file", "app/rules.py", "--list", "--workers", "1")
    assert "4 tests" in printed


def test_a_module_that_cannot_be_imported_is_not_viable(root: Path) -> None:
    (root / "app" / "rules.py").write_text("WORD = {'a': 1}['a']\n")
    (root / "tests" / "app" / "test_rules.py").write_text(
        "from app import rules\ndef test_word():\n    assert rules.WORD\n"
    )
    _, printed = run("--tests", "--sample", "100", "--workers", "1")
    assert "2 not viable" in printed
    assert "not viable: tests app/rules.py:1 text: exit 4" in printed


def test_a_test_that_fails_by_chance_kills_nothing(root: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (root / "app" / "rules.py").write_text("def f():\n    return 1\n")
    (root / "tests" / "app" / "test_rules.py").write_text(
        textwrap.dedent(f"""\
            import pathlib
            import time
            from app import rules
            RAN = pathlib.Path({str(marker)!r})
            def test_by_chance():
                rules.f()
                times = len(RAN.read_text()) if RAN.exists() else 0
                RAN.write_text("x" * (times + 1))
                # Green while it is watched, then red every other time.
                assert times % 2 == 0
            def test_sharp():
                assert rules.f() < 5
            def test_of_something_else():
                # Those that are asked take at most half of the time of all.
                time.sleep(0.5)
            """)
    )
    _, printed = run("--tests", "--sample", "100", "--workers", "1", "-o", "out.json")
    report = msgspec.json.decode(Path("out.json").read_bytes(), type=MutantReport)
    assert {added(each.diff): each.outcome for each in report.mutants} == {
        "return 2": "survived",
        "return 10": "killed",
    }, printed
    assert [each.finding.by for each in report.mutants if each.finding.by] == [
        ["tests/app/test_rules.py::test_sharp"]
    ]


def test_a_test_that_needs_another_before_it_kills_nothing(root: Path) -> None:
    (root / "app" / "rules.py").write_text("def f():\n    return 1\n")
    (root / "tests" / "app" / "test_rules.py").write_text(
        textwrap.dedent("""\
            import time
            from app import rules
            SEEN = []
            def test_first():
                time.sleep(0.1)
                SEEN.append(rules.f())
            def test_second():
                rules.f()
                assert SEEN
            """)
    )
    _, printed = run("--tests", "--sample", "100", "--workers", "1")
    assert "0 killed, 2 survived" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["G1", "--tests"], "--tests asks the tests, so it takes no gate"),
        (["--tests", "tests/nobody"], "there are no tests in 'tests/nobody'"),
        (["--tests", "--file", "app/guarded.py"], "nothing is drawn in 'app/guarded.py'"),
    ],
)
def test_what_is_refused(root: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        run(*arguments, "--list")


def watched(root: Path) -> Watched:
    session = open_session(Options(specs=str(root / "specs")), root / "runs", lambda _: None)
    file = "tests/app/test_rules.py"
    place = Place(Store(root), "k", anew=True)
    question = Watching(label=file, place=place, root=root, file=file, sources=["app"])
    return question.find(Bench(session, "main"))


def test_the_set_up_of_what_tests_share_is_told_apart(root: Path) -> None:
    (root / "tests" / "app" / "test_rules.py").write_text(
        textwrap.dedent("""\
            import time, pytest
            from app import rules
            @pytest.fixture(scope="module")
            def shared():
                time.sleep(0.2)
            def test_limit(shared):
                assert rules.limit() == 3
            """)
    )
    found = watched(root)
    assert found.shared_s >= 0.2
    assert [each.id for each in found.tests] == ["tests/app/test_rules.py::test_limit"]


def test_what_a_conftest_imports_is_seen(root: Path) -> None:
    (root / "tests" / "app" / "conftest.py").write_text("from app import rules\n")
    assert {1, 2, 3, 4, 6, 8} <= set(watched(root).imported["app/rules.py"])


def execution(name: str, seconds: float = 1.0, lines: Lines | None = None) -> Execution:
    return Execution(id=name, seconds=seconds, lines=lines or {})


def mutation(text: str, line: int) -> Mutation:
    return next(each for each in mutations_of("a.py", text) if each.line == line)


CODE = "A = 1\ndef f():\n    return 2\n"


def test_tests_that_execute_the_place_are_asked() -> None:
    one, other = (
        execution("t.py::one", lines={"a.py": [3]}),
        execution("t.py::other", lines={"b.py": [3]}),
    )
    watched = [Watched(tests=[one, other], imported={"a.py": [1, 2]}, red=[], shared_s=0)]
    assert candidates(mutation(CODE, 3), watched) == [one]
    assert (
        candidates(mutation(CODE, 3), [Watched(tests=[other], imported={}, red=[], shared_s=0)])
        == []
    )


def test_of_what_is_executed_by_an_import_all_are_asked_that_have_to_do_with_it() -> None:
    one, other = execution("t.py::one", lines={"a.py": [3]}), execution("t.py::other")
    elsewhere = Watched(tests=[execution("u.py::x")], imported={}, red=[], shared_s=0)
    watched = Watched(tests=[one, other], imported={"a.py": [1, 2]}, red=[], shared_s=0)
    assert candidates(mutation(CODE, 1), [watched, elsewhere]) == [one]
    nobody = Watched(tests=[other], imported={"a.py": [1]}, red=[], shared_s=0)
    assert candidates(mutation(CODE, 1), [nobody, elsewhere]) == [other]


def test_of_what_is_executed_by_an_import_all_tests_of_the_file_called_like_it_are_asked() -> None:
    tests = [execution("test_a.py::one", lines={"a.py": [3]}), execution("test_a.py::other")]
    watched = Watched(tests=tests, imported={"a.py": [1, 2]}, red=[], shared_s=0)
    assert candidates(mutation(CODE, 1), [watched]) == tests


def test_the_quickest_that_are_most_about_the_module_come_first_and_stay_with_their_file() -> None:
    tests = [
        execution("a.py::x", 3, {"m.py": [1]}),
        execution("b.py::y", 1, {"m.py": [1], "n.py": [1, 2, 3]}),
        execution("a.py::z", 2, {"m.py": [1]}),
        execution("b.py::w", 1, {"m.py": [1, 2, 3], "n.py": [1]}),
    ]
    assert selected("m.py", tests, {}, 90).ids == ["b.py::w", "b.py::y", "a.py::z", "a.py::x"]
    assert selected("m.py", tests, {}, 90).seconds == 7


def test_the_modules_own_file_comes_first() -> None:
    tests = [
        execution("t/test_b.py::x", 1, {"m/a.py": [1]}),
        execution("t/test_a.py::x", 2, {"m/a.py": [1, 2]}),
    ]
    assert selected("m/a.py", tests, {}, 90).ids == ["t/test_a.py::x", "t/test_b.py::x"]


def test_what_the_tests_of_a_file_share_is_waited_for_once() -> None:
    tests = [execution(f"a.py::{name}", 1, {"m.py": [1]}) for name in "xy"]
    assert selected("m.py", tests, {"a.py": 5.0, "b.py": 7.0}, 90).seconds == 7


def test_no_more_than_so_many_seconds_of_tests_are_run_but_always_one_is() -> None:
    tests = [execution("a.py::x", 89), execution("a.py::y", 0.5), execution("a.py::z", 91)]
    assert selected("m.py", tests, {}, 90).ids == ["a.py::y", "a.py::x"]
    assert selected("m.py", tests, {"a.py": 1.0}, 90).ids == ["a.py::y"]
    assert selected("m.py", tests[2:], {}, 90).ids == ["a.py::z"]


def test_files_of_tests_are_named_once(tmp_path: Path) -> None:
    for name in ("tests/a/test_b.py", "tests/a/c/test_d.py", "tests/a/other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    both = [Path("tests/a"), Path("tests/a/test_b.py")]
    assert files_below(tmp_path, both) == ["tests/a/c/test_d.py", "tests/a/test_b.py"]
