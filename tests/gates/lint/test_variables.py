"""A variable that nothing has set, or that is filled in nowhere, is told at its place."""

from pathlib import Path

import pytest

from gates.lint.gate import lint
from tests.builders.small_project import GATE, SCENARIO, TARGET, project

FIRST, RESTART = "specs/gates/a/first.yaml", "specs/scenarios/restart.yaml"
TARGET_FILE = "specs/targets/shop.yaml"
HEAD = GATE[: GATE.index("control:")]
TAIL = GATE[GATE.index("assert:") :].replace(" where step = 'tried'", "")


def said(root: Path, changes: dict[str, str | None]) -> list[str]:
    """What stands at the place, message and hint of every problem."""
    found = lint(project(root, changes))
    hinted = [f"{p.message} ({p.hint})" if p.hint else p.message for p in found]
    return [f"{p.source[p.column - 1 :]}: {words}" for p, words in zip(found, hinted, strict=True)]


def gate(scenario: str, control: str = "  - request: {get: /ready}\n", head: str = HEAD) -> str:
    return f"{head}control:\n{control}scenario:\n{scenario}{TAIL}"


TAKEN = "  - {request: {get: /a}, capture: {id: $.id, token.new: $.token}}\n"
ALLOWED = {
    "after it was captured": TAKEN + "  - {request: {get: '/{id}', headers: {'{id}': '{token.new}'}}}\n",
    "by the answer that it is taken from": "  - {request: {get: /}, capture: {id: $.id}, expect: {json: {self: '{id}'}}}\n",
    "in a part of an answer": TAKEN + "  - {request: {get: '/{id.deep.er}'}}\n",
    "in a repeat after it": TAKEN + "  - {repeat: 2, steps: [{request: {get: '/{id}/{i}'}}]}\n",
    "inside of a repeat": "  - {repeat: 2, steps: [{request: {get: /}, capture: {x: $.x}}, {request: {get: '/{x}'}}]}\n",
    "of another branch": "  - parallel: [[{request: {get: /}, capture: {x: $.x}}], [{pause: 1s}, {request: {get: '/{x}'}}]]\n",
    "after all branches": "  - parallel: [[{request: {get: /}, capture: {x: $.x}}], [{pause: 1s}]]\n  - {request: {get: '/{x}'}}\n",
    "meanwhile and after": "  - {hammer: web, name: 'x{x}', meanwhile: [{request: {get: /}, capture: {x: $.x}}, {request: {get: '/{x}'}}]}\n  - {request: {get: '/{x}'}}\n",
    "of a load": "  - {load: l, clients: 1, for: 1s, send: {get: '/{i}/{uuid}', path_params: {a: '{i}'}}}\n",
    "of the target": "  - {run: 'x {state} {port.web} {url.stock} {token.admin} {python} {root} {host} {seed}'}\n",
    "an item of a list": "  - {repeat: {r: [{a: {b: 1}}, {a: '{token.admin}'}]}, steps: [{request: {get: '/{r.a.b}'}}]}\n",
    "braces that hold no name": """  - {request: {post: /, json: {sql: "{'a': 1}", awk: '{ print }', doubled: '{{id}}', nested: '{"a": {"b": {seed}}}', none: '{}'}}}\n""",
    "a path that is left to its parameters": "  - {request: {get: '/a/{{id}}', path_params: {id: '7'}}}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_a_variable_that_is_set_by_then_is_no_problem(name: str, tmp_path: Path) -> None:
    assert said(tmp_path, {FIRST: gate(ALLOWED[name])}) == []


REFUSED = {
    "in a body": ("request: {post: /, json: {a: ['x {idd}']}}", "{idd}']}}: unknown variable 'idd' (id)"),
    "in a parameter of a path": ("request: {get: '/{{id}}', path_params: {id: '{idd}'}}", "{idd}'}}: unknown variable 'idd' (id)"),
    "in a header's name": ("request: {get: /, headers: {'{idd}': x}}", "x}}: unknown variable 'idd' (id)"),
    "in what is expected": ("{request: {get: /}, expect: {json: {id: '{idd}'}}}", "{idd}'}}}: unknown variable 'idd' (id)"),
    "in a key that is expected": ("{request: {get: /}, expect: {json: {'{idd}': present}}}", "present}}}: unknown variable 'idd' (id)"),
    "in a label": ("{request: {get: /}, as: {bearer: '{token.new}', label: '{who}'}}", "{who}'}}: unknown variable 'who'"),
    "in a role": ("{request: {get: /}, as: {bearer: x, label: x, role: '{who}'}}", "{who}'}}: unknown variable 'who'"),
    "in SQL of a step": ("{query: '{state}/a.db', sql: 'select {idd}'}", "{idd}'}: unknown variable 'idd' (id)"),
    "in what a query leaves out": ("{query: '{state}/a.db', digests: true, without: ['{idd}']}", "{idd}']}: unknown variable 'idd' (id)"),
    "in a name": ("{request: {get: /}, name: 'asked {idd}'}", "{idd}'}: unknown variable 'idd' (id)"),
    "of another kind of step": ("{request: {get: '/{i}'}}", "{i}'}}: unknown variable 'i' (id)"),
    "of a load elsewhere": ("{load: l, clients: 1, for: 1s, name: '{uuid}', send: {get: /}}", "{uuid}', send: {get: /}}: unknown variable 'uuid' (id)"),
    "in a part that no item has": ("{repeat: {r: [{path: /a}, {pat: /b}]}, steps: [{request: {get: '/{r.path}'}}]}", "{r.path}'}}]}: unknown variable 'r.path': not everything that it stands for has 'path' (r.pat)"),
    "in a part of no object": ("{repeat: {r: [a]}, steps: [{request: {get: '/{r.path}'}}]}", "{r.path}'}}]}: unknown variable 'r.path': not everything that it stands for has 'path'"),
    "before it is set": ("{request: {get: '/{late}'}}\n  - {request: {get: /}, capture: {late: $.id}}", "{late}'}}: nothing has set 'late' before this step"),
    "by its own answer": ("{request: {get: '/{late}'}, capture: {late: $.id}}", "{late}'}, capture: {late: $.id}}: nothing has set 'late' before this step"),
    "out of a repeat": ("{repeat: 2, steps: [{request: {get: /}, capture: {late: $.id}}]}\n  - {request: {get: '/{late}'}}", "{late}'}}: nothing has set 'late' before this step"),
    "after a repeat": ("{repeat: {r: [1]}, steps: [{pause: 1s}]}\n  - {request: {get: '/{r}'}}", "{r}'}}: unknown variable 'r'"),
    "in the name of a link": ("{cut: '{id}', name: x, for: 1s}", "'{id}', name: x, for: 1s}: no variable is filled in here: {id} is its name"),
    "in the name of a load": ("{load: '{id}', clients: 1, for: 1s, send: {get: /}}", "'{id}', clients: 1, for: 1s, send: {get: /}}: no variable is filled in here: {id} is its name"),
    "in what is captured": ("{request: {get: /}, capture: {'x{id}': $.id}}", "$.id}}: no variable is filled in here: x{id} is its name"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_variable_that_is_not_set_by_then_is_told(name: str, tmp_path: Path) -> None:
    step, problem = REFUSED[name]
    assert problem in said(tmp_path, {FIRST: gate(TAKEN + f"  - {step}\n")})


def test_what_control_steps_capture_is_known_to_the_scenario(tmp_path: Path) -> None:
    asked = "  - {request: {get: '/{id}'}}\n"
    assert said(tmp_path / "a", {FIRST: gate(asked, TAKEN)}) == []
    assert said(tmp_path / "b", {FIRST: gate(TAKEN, asked)}) == [
        "{id}'}}: nothing has set 'id' before this step"
    ]


def test_what_a_scenario_gives_is_known_afterwards_and_nothing_else(tmp_path: Path) -> None:
    scenario = SCENARIO.replace("steps:", "gives: [pid]\nsteps:") + (
        "  - {request: {get: /}, capture: {pid: $.pid, kept: $.k}}\n"
        "  - {request: {get: '/{pid}{kept}{process}{state}'}}\n"
    )
    use = (
        TAKEN + "  - {use: restart, with: {process: web}}\n  - {request: {get: '/{pid}/{kept}'}}\n"
    )
    assert said(tmp_path, {RESTART: scenario, FIRST: gate(use)}) == [
        "{kept}'}}: nothing has set 'kept' before this step"
    ]


def test_fixed_tables_are_known_and_so_are_their_columns(tmp_path: Path) -> None:
    head = HEAD + "data: {pinned: [{path: /a}, {path: /b}]}\n"
    repeat = "  - {{repeat: {{r: '{{data.pinned}}'}}, steps: [{{request: {{get: '{{r.{}}}'}}}}]}}\n"
    assert said(tmp_path / "a", {FIRST: gate(repeat.format("path"), head=head)}) == []
    (problem,) = said(tmp_path / "b", {FIRST: gate(repeat.format("pat"), head=head)})
    assert problem.endswith("not everything that it stands for has 'pat' (r.path)")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/a/{id}", None),
        ("/a/{route_id:str}", None),
        ("{state}", "nothing is filled into fixed tables: {state} would stay"),
        ("x {token.new}", "nothing is filled into fixed tables: {token.new} would stay"),
    ],
)
def test_what_a_fixed_table_holds_stays_and_so_it_is_told(
    text: str, problem: str | None, tmp_path: Path
) -> None:
    head = HEAD + f"data: {{forms: [{{text: x}}, {{text: '{text}'}}]}}\n"
    using = TAKEN + "  - {repeat: {f: '{data.forms}'}, steps: [{request: {get: '/{f.text}'}}]}\n"
    found = said(tmp_path / "a", {FIRST: gate(using, head=head)})
    assert found == ([] if problem is None else [f"{text[text.index('{') :]}'}}]}}: {problem}"])
    assert said(tmp_path / "b", {FIRST: gate(TAKEN, head=head)}) == []


def test_the_configuration_of_a_gate_may_speak_of_the_state(tmp_path: Path) -> None:
    def configured(value: str) -> list[str]:
        head = HEAD.replace("{size: 6}", f"{{size: '{value}'}}")
        return said(tmp_path / str(len(value)), {FIRST: gate(TAKEN, head=head)})

    assert configured("{state}") == []
    assert configured("{stat}") == ["{stat}'}}: unknown variable 'stat' (state)"]
    assert configured("{id}") == ["{id}'}}: unknown variable 'id'"]


SQL = {
    "every": "    every: route <> '{route}' and status = 200\n",
    "from": "    from: requests where route = '{route}'\n",
    "is": "    value: count(*)\n    is: \"= (select count(*) from requests where route = '{route}')\"\n",
}


@pytest.mark.parametrize("field", SQL)
def test_nothing_is_filled_into_sql(field: str, tmp_path: Path) -> None:
    lines = {
        "from": "    from: requests where step = 'tried'\n",
        "every": "    every: status = 200\n",
    }
    text = GATE.replace(lines.get(field, lines["every"]), SQL[field])
    (problem,) = said(tmp_path / "a", {FIRST: text})
    assert problem.startswith("{route}'")
    assert problem.endswith("no variable is filled in here; the text {route} is written {{route}}")
    doubled = text.replace("'{route}'", "'{{route}}'")
    read = project(tmp_path / "b", {FIRST: doubled})
    assert lint(read) == []
    assertion = read.judged("first").asserts[0]
    assert "'{route}'" in f"{assertion.from_}{assertion.every}{assertion.is_}"


def test_nothing_is_filled_into_queries_and_views(tmp_path: Path) -> None:
    query = "select seq, status from requests where route = '{route}'"
    named = f'{{mine: {{at_least: 1, query: "{query}"}}}}\n'
    gates = GATE.replace("from: requests where step = 'tried'", "from: mine")
    in_gate: dict[str, str | None] = {FIRST: gates.replace("assert:", f"with: {named}assert:")}
    in_target: dict[str, str | None] = {FIRST: gates, TARGET_FILE: f"{TARGET}views: {named}"}
    for number, changes in enumerate((in_gate, in_target)):
        (problem,) = said(tmp_path / str(number), changes)
        assert problem.startswith("{route}'")
        doubled = {
            file: (text or "").replace("'{route}'", "'{{route}}'") for file, text in changes.items()
        }
        read = project(tmp_path / f"{number}-doubled", doubled)
        assert lint(read) == []
        assert "'{route}'" in read.judged("first").with_["mine"].query


IN_TARGETS = {
    "address": ("env: STOCK_URL,", "env: STOCK_URL, env_value: 'http://{host}:{prot}',", "{prot}',", "unknown variable 'prot' (port)"),
    "SQL": ("columns: {id: BIGINT}", "sql: select '{idd}' as id\n    columns: {id: BIGINT}", "{idd}' as id", "unknown variable 'idd'"),
    "role": ('{bearer: "{token.admin}"}', '{bearer: "{token.admin}", role: "{token.admin}"}', "{token.admin}\"}", "no variable is filled in here"),
    "readiness": ("ready: GET /ready", "ready: 'GET /{seed}'", "{seed}'", "no variable is filled in here"),
    "exercise": ("get: /items", "get: '/items/{idd}'", "{idd}'}", "unknown variable 'idd'"),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_TARGETS)
def test_a_target_has_no_names_that_nobody_fills_in(name: str, tmp_path: Path) -> None:
    before, after, place, message = IN_TARGETS[name]
    assert before in TARGET
    found = said(tmp_path, {TARGET_FILE: TARGET.replace(before, after, 1)})
    assert any(one.startswith(place) and message in one for one in found), found
