"""What is wrong is said before anything is run, at its place, with what was probably meant."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from chaos.errors import Severity, errors_among
from gates.cli import main
from gates.lint.gate import lint
from gates.release.report import EXIT_PROMOTE, EXIT_SPEC
from gates.run.session import Options
from gates.run.sound import sound_project
from gates.spec.project import read_project
from tests.builders.small_project import FILES, project, write_project

FIRST = "specs/gates/a/first.yaml"
SECOND = "specs/gates/second.yaml"
TARGET = "specs/targets/shop.yaml"
RELEASE = "specs/release.yaml"


def said(root: Path, file: str, *replacements: tuple[str, str]) -> list[tuple[str, str]]:
    """(what stands at the place, message with hint) of all problems, when some texts of a file are replaced."""
    text = FILES[file]
    for before, after in replacements:
        assert text.count(before) >= 1, before
        text = text.replace(before, after, 1)
    found = lint(project(root, {file: text}))
    hinted = [p.message + (f" ({p.hint})" if p.hint else "") for p in found]
    return [(p.source[p.column - 1 :], words) for p, words in zip(found, hinted, strict=True)]


def test_what_is_right_has_no_problems(tmp_path: Path) -> None:
    assert lint(project(tmp_path)) == []


def test_every_shipped_spec_has_no_errors() -> None:
    for specs in ("specs", "specs/examples"):
        found = errors_among(lint(read_project(Path(__file__).parents[3] / specs)))
        assert [problem.render() for problem in found] == []


GATE_PROBLEMS: Mapping[str, tuple[tuple[str, str], str, str]] = {
    "target": (("target: shop", "target: shpo"), "shpo", "unknown target 'shpo' (shop)"),
    "needs": (
        ("needs: [web, stock]", "needs: [web, stok]"),
        "stok]",
        "unknown process 'stok' in target 'shop' (stock)",
    ),
    "listed": (("id: A1", "id: A7"), "A7", "release.yaml lists this gate with id 'A1', not 'A7'"),
    "class": (
        ("class: delta", "class: floor"),
        "floor",
        "release.yaml lists this gate with class 'delta', not 'floor'",
    ),
    "config": (
        ("{size: 6}", "{siez: 6}"),
        "6}}",
        "release.yaml does not allow gates to set 'cache.siez' (cache.size)",
    ),
    "control": (
        ("control:\n  - request: {get: /ready}\n    expect: {status: 200}\n", "control: []\n"),
        "[]",
        "a gate needs at least one control step",
    ),
    "actor": (
        ("as: admin", "as: admni"),
        "admni",
        "unknown actor 'admni' in target 'shop' (admin)",
    ),
    "link": (
        ("via: client->web", "via: client->wbe"),
        "client->wbe",
        "unknown link 'client->wbe' in target 'shop' (client->web)",
    ),
    "process": (
        ("    via: client->web\n", "    to: wbe\n"),
        "wbe",
        "unknown process 'wbe' in target 'shop' (web)",
    ),
    "watched process": (
        (
            "  - use: restart\n    with: {process: web}",
            "  - {watch: sizes, processes: [stock, wbe], meanwhile: [pause: 1s]}",
        ),
        "wbe]",
        "unknown process 'wbe' in target 'shop' (web)",
    ),
    "restarted process": (
        ("  - use: restart\n    with: {process: web}", "  - restart: [stock, wbe]"),
        "wbe]",
        "unknown process 'wbe' in target 'shop' (web)",
    ),
    "both ways": (
        ("    via: client->web\n", "    via: client->web\n    to: web\n"),
        "web",
        "go `to` a process directly or `via` a link, not both",
    ),
    "faulted link": (
        ("cut: web->stock", "cut: web->stok"),
        "web->stok",
        "unknown link 'web->stok' in target 'shop' (web->stock)",
    ),
    "variable": (
        ("{route.path}", "{rout.path}"),
        '{rout.path}"}',
        "unknown variable 'rout.path' (route",
    ),
    "capture": (
        ('"$.routes[0]"', '"$.routes[x]"'),
        '"$.routes[x]"}',
        "cannot read the place '$.routes[x]' from '[x]' on",
    ),
    "method": (
        ("request: {get: /token}", "request: {get: /token, put: /x}"),
        "{get: /token, put: /x}",
        "name exactly one method",
    ),
    "regex": (("text: /x/", "text: /(/"), "/(/}", "( is not a regular expression of re2"),
    "observed": (("text: /x/", "exit: 0"), "0}", "`await` does not observe 'exit'"),
    "expect": (
        ("    expect: {json: {up: true}, text: /x/}\n", ""),
        "await: {get: /ready}",
        "`await` needs an `expect`",
    ),
    "repeat": (
        ("role: [admin, nobody]", "role: []"),
        'repeat: {route: "{routes}"',
        "repeats nothing",
    ),
    "load": (("rate: 10/s", "rate: 1/min"), "load: many", "not a single request would be sent"),
    "query": (
        ("    sql: select 1 as one\n", ""),
        'query: "{state}/shop.db"',
        "`query` needs either `sql` or `digests: true`",
    ),
    "fault name": (("        name: outage\n", ""), "cut: web->stock", "a fault needs a `name`"),
    "fault end": (("      - clear: outage\n", ""), "cut: web->stock", "this fault never ends"),
    "clear": (
        ("clear: outage", "clear: outrage"),
        "outrage",
        "there is no fault named 'outrage' (outage)",
    ),
    "no probe": (
        ("cut: web->stock", "latency: client->web\n        delay: 100ms"),
        "latency: client->web",
        "this fault could never be proven",
    ),
    "no assertion": (
        (FILES[FIRST][FILES[FIRST].index("assert:") :], "assert: []\n"),
        "[]",
        "a gate without assertions decides nothing",
    ),
    "column": (
        ("every: status = 200", "every: statsu = 200"),
        "statsu = 200",
        "there is no column statsu",
    ),
    "constant": (("every: status = 200", "every: true"), "true", "expected a text, got true"),
    "unkillable": (
        ("fails: [all is well]", "fails: []"),
        "all is well",
        "no defect in `falsified_by` fails 'all is well'",
    ),
    "defect name": (
        ("fails: [all is well]", "fails: [all is wll]"),
        "all is wll]",
        "no assertion is called 'all is wll' (all is well)",
    ),
    "defect file": (
        ("file: shop/app.py", "file: shop/gone.py"),
        "shop/gone.py",
        "stale: there is no file shop/gone.py",
    ),
    "defect source": (
        ("file: shop/app.py", "file: pyproject.toml"),
        "pyproject.toml",
        "pyproject.toml is not below the target's source (shop)",
    ),
    "defect text": (
        ('replace: "return True"', 'replace: "return Ture"'),
        '"return Ture"',
        "stale: the text does not occur in shop/app.py; nearest is line 2 of the file (return True)",
    ),
    "defect definition": (
        ("    file: shop/app.py\n", "    file: shop/app.py\n    in: alowed\n"),
        "alowed",
        "stale: shop/app.py defines no alowed (allowed)",
    ),
    "defect edit": (
        ('with: "return False"', 'with: "return True"'),
        '"return True"',
        "the edit changes nothing",
    ),
}
"""What is changed, what stands at the place of the problem, and how its message begins."""


@pytest.mark.parametrize(("change", "at", "message"), GATE_PROBLEMS.values(), ids=GATE_PROBLEMS)
def test_what_is_wrong_with_a_gate(
    tmp_path: Path, change: tuple[str, str], at: str, message: str
) -> None:
    found = said(tmp_path, FIRST, change)
    assert any(place.startswith(at) and words.startswith(message) for place, words in found), found


def test_a_definition_is_looked_for_in_python_only(tmp_path: Path) -> None:
    gate = FILES[FIRST].replace("file: shop/app.py", "file: shop/a.txt\n    in: allowed")
    (found,) = lint(project(tmp_path, {FIRST: gate, "shop/a.txt": "return True"}))
    assert found.severity == "error"
    assert "looked for in Python only" in found.message


def test_a_defect_reaches_no_file_outside_of_the_source_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "elsewhere.py").write_text("return True")
    (tmp_path / "shop" / "link.py").symlink_to(tmp_path / "elsewhere.py")
    for file in ("shop/link.py", "shop/../elsewhere.py"):
        gate = FILES[FIRST].replace("file: shop/app.py", f"file: {file}")
        (found,) = lint(project(tmp_path, {FIRST: gate}))
        assert (found.severity, found.message[:20]) == ("error", f"{file} is not below"[:20])


def test_what_is_stale_is_a_warning(tmp_path: Path) -> None:
    for change in (
        ("file: shop/app.py", "file: shop/gone.py"),
        ("file: shop/app.py", "file: shop/app.py\n    in: alowed"),
        ('replace: "return True"', 'replace: "return Ture"'),
        ('replace: "return True"', 'replace: "o"'),
    ):
        (found,) = lint(project(tmp_path, {FIRST: FILES[FIRST].replace(*change)}))
        assert (found.severity, found.message[:6]) == ("warning", "stale:")


def test_warnings_are_told_and_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = FILES[FIRST].replace('replace: "return True"', 'replace: "return Ture"')
    specs = write_project(tmp_path, {FIRST: gate})
    assert main(["lint", "--specs", str(specs)]) == EXIT_PROMOTE
    said = capsys.readouterr().out
    assert "first.yaml:47:14: warning: stale: the text does not occur" in said
    assert said.endswith("2 gates, 1 target: 1 warning\n")
    assert sound_project(Options(specs=str(specs))).gates.keys() == {"first", "second"}


def test_warnings_beside_errors_are_counted_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = FILES[FIRST].replace('replace: "return True"', 'replace: "return Ture"')
    specs = write_project(tmp_path, {FIRST: gate.replace("[all is well]", "[all is wll]")})
    assert main(["lint", "--specs", str(specs)]) == EXIT_SPEC
    said = capsys.readouterr().out
    assert said.endswith("2 problems and 1 warning in the specs; nothing was run\n")


LONG = "x" * 121
STYLE_PROBLEMS: Mapping[str, tuple[tuple[str, str], Severity, str, str]] = {
    "guards beside the source": (
        ("guards: [shop]", "guards: [shop, specs]"),
        "error",
        "specs]",
        "specs is not below the target's source (shop)",
    ),
    "guards out of the source": (
        ("guards: [shop]", "guards: [shop/../specs]"),
        "error",
        "shop/../specs]",
        "shop/../specs is not below the target's source (shop)",
    ),
    "guards that are gone": (
        ("guards: [shop]", "guards: [shop/app.py, shop/ap.py]"),
        "error",
        "shop/ap.py]",
        "there is no file or folder shop/ap.py",
    ),
    "a guarded definition that is gone": (
        ("guards: [shop]", "guards: [shop/app.py:nothing]"),
        "error",
        "shop/app.py:nothing]",
        "shop/app.py defines no nothing",
    ),
    "no guards": (
        ("guards: [shop]\n", ""),
        "warning",
        "first",
        (
            "`guards` is missing: name the files and folders of the target's source that implement the claim,"
            " where `nox -s mutants` draws"
        ),
    ),
    "too many lines": (
        ("assert:\n", "\n" * 205 + "assert:\n"),
        "warning",
        "first",
        (
            "this gate has 254 lines, more than 250: leave to tests what its claim does not need, or make two gates of"
            " two claims"
        ),
    ),
    "a long literal in an assertion": (
        ("every: status = 200", f"every: status = 200 and path <> '{LONG}'"),
        "warning",
        f"'{LONG}'",
        (
            "this literal has 121 characters, more than 120: compare the fields that the claim is about, and move what is"
            " not part of it into a test"
        ),
    ),
    "a long literal in data": (
        ("assert:\n", f"data:\n  pages: [{{name: a, keys: [b, {LONG}]}}]\nassert:\n"),
        "warning",
        f"{LONG}]}}]",
        (
            "this literal has 121 characters, more than 120: compare the fields that the claim is about, and move what is"
            " not part of it into a test"
        ),
    ),
}


@pytest.mark.parametrize("name", STYLE_PROBLEMS)
def test_problems_of_style(name: str, tmp_path: Path) -> None:
    replacement, severity, place, words = STYLE_PROBLEMS[name]
    (found,) = lint(project(tmp_path, {FIRST: FILES[FIRST].replace(*replacement)}))
    assert (found.severity, found.message) == (severity, words)
    assert found.source[found.column - 1 :] == place


def test_a_target_without_python_needs_no_guards(tmp_path: Path) -> None:
    changes = {
        TARGET: FILES[TARGET].replace("source: [shop]\n", ""),
        SECOND: FILES[SECOND].replace("guards: [shop/app.py]\n", ""),
    }
    assert [
        each.file for each in lint(project(tmp_path, changes)) if "guards" in each.message
    ] == []


GOLDEN_CHANGES = {
    "an assertion": ("every: status = 200", "every: response = '{}'"),
    "the text of an answer": ("text: /x/", f"text: {LONG}"),
    "a pattern of all of it": ("text: /x/", f"text: /{LONG}/"),
    "an answer that is no JSON": ("json: {up: true}", f"json: {LONG}"),
}


@pytest.mark.parametrize("name", GOLDEN_CHANGES)
def test_whole_answers_are_compared_only_by_a_golden_gate(name: str, tmp_path: Path) -> None:
    text = FILES[FIRST].replace(*GOLDEN_CHANGES[name])
    (found,) = lint(project(tmp_path, {FIRST: text}))
    assert found.severity == "error"
    assert found.message.startswith("a whole answer is compared with a literal")
    golden = text.replace("guards: [shop]", "guards: [shop]\ngolden: true")
    assert lint(project(tmp_path, {FIRST: golden})) == []


def test_a_short_text_is_no_whole_answer(tmp_path: Path) -> None:
    text = FILES[FIRST].replace("text: /x/", f"text: {LONG[:120]}")
    assert lint(project(tmp_path, {FIRST: text})) == []


QUICK = """\
  - that: it is quick
    from: requests where load = 'many'
    at_least: 2
    every: latency_ms < 100
falsified_by:
  - defect: it is slow
    file: shop/app.py
    replace: "return True"
    with: "return None"
    fails: [it is quick]
"""


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            [],
            [("that: it is quick", "a limit on latency (100 ms): many needs `exclusive: true`")],
        ),
        ([("  - load: many", "  - exclusive: true\n    load: many")], []),
        ([("needs:", "exclusive: true\nneeds:")], []),
        (
            [("  - query:", "  - exclusive: true\n    query:")],
            [("that: it is quick", "a limit on latency (100 ms): many needs `exclusive: true`")],
        ),
        (
            [
                ("needs:", "exclusive: true\nneeds:"),
                ("  - query:", "  - exclusive: true\n    query:"),
            ],
            [("true", "the whole gate is `exclusive` already")],
        ),
        (
            [
                ("  - load: many", "  - exclusive: true\n    load: many"),
                ("      - pause: 100ms", "      - {exclusive: true, pause: 100ms}"),
            ],
            [("true, pause", "only a step of `control` or `scenario` itself may be `exclusive`")],
        ),
    ],
)
def test_who_is_to_run_alone(
    tmp_path: Path, changes: list[tuple[str, str]], problems: list[tuple[str, str]]
) -> None:
    found = said(tmp_path, FIRST, ("falsified_by:\n", QUICK), *changes)
    assert len(found) == len(problems)
    for (at, words), (place, message) in zip(found, problems, strict=True):
        assert at.startswith(place)
        assert words.startswith(message)


HOST = """\
host:
  - that: the machine is quick
    from: requests where step = 'tried'
    at_least: 2
    every: service_ms < 50
assert:
"""


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ([("assert:\n", "exclusive: true\n" + HOST)], []),
        (
            [("assert:\n", HOST)],
            [("that: the machine is quick", "a limit on latency (50 ms): tried needs")],
        ),
        (
            [("assert:\n", "exclusive: true\n" + HOST), ("service_ms < 50", "status = 200")],
            [("status = 200", "what is `timed` speaks of times only")],
        ),
        (
            [
                ("every: status = 200", "timed: true\n    every: service_ms < 50"),
                ("needs:", "exclusive: true\nneeds:"),
            ],
            [],
        ),
    ],
)
def test_what_is_asked_of_the_machine(
    tmp_path: Path, changes: list[tuple[str, str]], problems: list[tuple[str, str]]
) -> None:
    found = said(tmp_path, FIRST, *changes)
    assert len(found) == len(problems), found
    for (at, words), (place, message) in zip(found, problems, strict=True):
        assert at.startswith(place)
        assert words.startswith(message)


def test_timed_means_nothing_where_nobody_looks_at_the_machine(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        SECOND,
        ("at_least: 1\n", "at_least: 1\n    timed: true\n"),
        ("every: status = 200", "every: sent_ms > 0"),
    )
    assert [words for _, words in found] == [
        "`timed` means nothing without `host` or a load: nothing would tell a slow machine"
    ]


def test_a_gate_that_is_not_listed(tmp_path: Path) -> None:
    found = said(tmp_path, RELEASE, ("gate: first", "gate: frist"))
    assert found == [("first", "release.yaml lists no gate 'first' (frist)")]


def test_gates_on_a_shared_stack_only_read(tmp_path: Path) -> None:
    found = said(tmp_path, SECOND, ("assert:", "scenario: [{parallel: [[{kill: web}]]}]\nassert:"))
    assert found == [("{kill: web}]]}]", "a gate on a shared stack only reads: no 'kill' step")]


def test_names_that_are_given_twice(tmp_path: Path) -> None:
    twice = FILES[FIRST][FILES[FIRST].index("  - that: ") : FILES[FIRST].index("falsified_by:")]
    found = said(tmp_path, FIRST, (twice, twice + twice))
    assert ("- that: all is well", "2 assertions are called 'all is well'") in found


TARGET_PROBLEMS: Mapping[str, tuple[tuple[str, str], str, str]] = {
    "default": (("default: web", "default: wbe"), "wbe", "unknown process 'wbe'"),
    "ready": (
        ("ready: GET /ready", "ready: POST /x"),
        "POST /x",
        "expected `tcp` or something like `GET /readyz`, not 'POST /x'",
    ),
    "port": (
        ("port: 8000", "port: 80000"),
        "80000",
        "a port is a number from 1 to 65535, not 80000",
    ),
    "link end": (("to: stock", "to: stok"), "stok,", "unknown process 'stok' (stock)"),
    "link name": (
        ("  client->web:", "  web:"),
        "{to: web}",
        "a link is named like `client->server`, not 'web'",
    ),
    "own table": (
        ("table: orders", "table: requests"),
        "requests",
        "'requests' is a table of the harness's own",
    ),
    "no source": (
        ('    sqlite: "{state}/shop.db"\n', ""),
        "table: orders",
        "name exactly one source, `sqlite` or `jsonl`",
    ),
    "type": (("{id: BIGINT}", "{id: INT}"), "INT}", "unknown type 'INT'; types are VARCHAR"),
    "pattern": (
        ('redact: ["key-', 'redact: ["key-('),
        '"key-([a-z]+"]',
        "key-([a-z]+ is not a regular expression",
    ),
    "variable": (
        ("{token.admin}", "{token.admni}"),
        '{token.admni}"}',
        "unknown variable 'token.admni' (token.admin)",
    ),
    "place": (("$.token", "token"), "token}", "a place in an answer starts with $, not 'token'"),
    "exercise": (
        ("via: client->web", "via: client->wbe"),
        "client->wbe",
        "unknown link 'client->wbe' in target 'shop' (client->web)",
    ),
}


@pytest.mark.parametrize(("change", "at", "message"), TARGET_PROBLEMS.values(), ids=TARGET_PROBLEMS)
def test_what_is_wrong_with_a_target(
    tmp_path: Path, change: tuple[str, str], at: str, message: str
) -> None:
    found = said(tmp_path, TARGET, change)
    assert any(place.startswith(at) and words.startswith(message) for place, words in found), found


def test_complaints_do_not_pile_up_when_specs_are_checked_again(tmp_path: Path) -> None:
    read = project(tmp_path, {FIRST: FILES[FIRST].replace("as: admin", "as: admni")})
    assert lint(read) == lint(read)
    assert len(lint(read)) == 1


def test_a_gate_of_an_unknown_target_is_explained_by_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILES[FIRST].replace("target: shop", "target: shpo")
    specs = write_project(tmp_path, {FIRST: text})
    assert main(["--specs", str(specs), "explain", "first"]) == EXIT_SPEC
    said = capsys.readouterr().out
    assert "first.yaml:7:9: unknown target 'shpo'" in said
    assert "did you mean 'shop'?" in said


CHILD_PROBLEMS = {
    "stranger": ("child_of: web", "child_of: wbe", "'stock' cannot be child of 'wbe', which is no other process (web)"),
    "itself": ("child_of: web", "child_of: stock", "'stock' cannot be child of 'stock', which is no other process"),
    "run": ("child_of: web", "child_of: web, run: x", "web starts stock, so it says with which `run`"),
    "env": ("child_of: web", "child_of: web, env: {A: b}", "web starts stock, so it says with which `env`"),
    "neither": ("child_of: web, ", "", "'' is no command: it names no program"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHILD_PROBLEMS)
def test_what_is_wrong_with_a_child_of_another_process(tmp_path: Path, name: str) -> None:
    before, after, message = CHILD_PROBLEMS[name]
    replaced = ('stock: {run: "{python} -m stock"', "stock: {child_of: web")
    found = said(tmp_path, TARGET, replaced, (before, after))
    assert message in [words for _, words in found]


def test_no_step_starts_a_child_and_its_parent_is_needed(tmp_path: Path) -> None:
    target = FILES[TARGET].replace('stock: {run: "{python} -m stock"', "stock: {child_of: web")
    gate = FILES[FIRST].replace("needs: [web, stock]", "needs: [stock]")
    gate = gate.replace("  - use: restart", "  - start: stock\n  - kill: stock\n  - use: restart")
    found = lint(project(tmp_path, {TARGET: target, FIRST: gate}))
    assert [problem.message for problem in found] == [
        "stock is started by web: the gate needs that",
        "stock is started by web, and by no step",
    ]
