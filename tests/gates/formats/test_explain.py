"""A gate in prose says all that it does, in words of YAML and not of Python."""

from pathlib import Path

import pytest

from gates.formats.explain import MOST_CHARACTERS, explain
from gates.spec.project import read_project
from tests.gates.small_project import GATE, project

FIRST = "specs/gates/a/first.yaml"


def lines(root: Path, before: str = "", after: str = "") -> list[str]:
    assert before in GATE
    read = project(root, {FIRST: GATE.replace(before, after, 1) if before else GATE})
    return "\n".join(explain(read.gates["first"], read.targets["shop"])).splitlines()


def test_every_step_stands_with_what_is_special_about_it(tmp_path: Path) -> None:
    found = lines(tmp_path)
    begin = found.index("## Then it does")
    assert found[begin + 1 : found.index("## It passes if") - 1] == [
        '- **request** `GET /token`; as `admin`; capture `{"token.new":"$.token","routes":"$.routes[0]"}`',
        '- **repeat** `{"route":"{routes}","role":["admin","nobody"]}`',
        "  - **request** `{route.method} {route.path}`; name `tried`; as `{role}`",
        "- **load** `many`; rate `10/s`; for `1s`; send `GET /items/{i}`",
        "  - **cut** `web->stock`; name `outage`",
        "  - **pause** `100ms`",
        "  - **clear** `outage`",
        '- **use** `restart`; with `{"process":"web"}`',
        "  - **kill** `{process}`",
        "  - **start** `{process}`",
        "- **query** `{state}/shop.db`; sql `select 1 as one`",
        '- **await** `GET /ready`; via `client->web`; expect `json {"up":true}, text /x/`',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    as: admin\n", "    as: {bearer: x, label: y}\n    must: true\n", "; as `bearer x, label y`; must; "),
        ("send: {get: \"/items/{i}\"}", "send: [{get: /a, as: admin}, {post: /b}]", "send `GET /a as admin, POST /b`"),
        ("- pause: 100ms", "- {pause: 100ms, at: 1s}", "  - at 1s: **pause** `100ms`"),
        ("control:", "data: {fixed: [{a: 1, b: x}, {a: 2}]}\ncontrol:", "`fixed` is a fixed table of 2 rows with a, b."),
        ("select 1 as one", f"select '{'x' * 200}' as one", f"sql `{('select ' + chr(39) + 'x' * 200)[:MOST_CHARACTERS]}…`"),
        ("{size: 6}", "{size: true}", "It sets `cache` to `{\"size\":true}`."),
    ],
)  # fmt: skip
def test_what_is_said_of_it(before: str, after: str, said: str, tmp_path: Path) -> None:
    assert any(said in line for line in lines(tmp_path, before, after))


@pytest.mark.parametrize("specs", ["specs", "specs/examples"])
def test_no_shipped_gate_is_explained_in_words_of_python(specs: str) -> None:
    read = read_project(Path(__file__).parents[3] / specs)
    for gate in read.gates.values():
        told = explain(gate, read.targets[gate.target])
        steps = "\n".join(line for line in told if line.lstrip().startswith("- "))
        assert not [word for word in ("`None`", "{'", "`True`", "`False`") if word in steps]
