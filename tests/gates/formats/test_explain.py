"""A gate in prose says all that it does, in words of YAML and not of Python."""

from pathlib import Path

import msgspec
import pytest

from gates.formats.explain import MOST_CHARACTERS, MOST_LINES, SHAM, brief, in_full
from gates.spec.project import read_project
from tests.builders.small_project import GATE, SCENARIO, project

FIRST = "specs/gates/a/first.yaml"


def lines(root: Path, before: str = "", after: str = "") -> list[str]:
    assert before in GATE
    read = project(root, {FIRST: GATE.replace(before, after, 1) if before else GATE})
    return "\n".join(in_full(read.gates["first"], read.targets["shop"])).splitlines()


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
        "  - **kill** `web`",
        "  - **start** `web`",
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
        told = in_full(gate, read.targets[gate.target])
        steps = "\n".join(line for line in told if line.lstrip().startswith("- "))
        assert not [word for word in ("`None`", "{'", "`True`", "`False`") if word in steps]


A3 = """\
# A3 role-enforcement: Every route admits exactly the roles pinned here; observers read, operators change, nobody else gets in

delta gate, epic A. Scope lock v4.6, epic A, roles

It passes if

1. the routes and their roles are exactly the pinned ones, and none other is documented
2. a role that a route admits is answered with 2xx or 409 or 412
3. whoever a route does not admit is answered with 401 or 403
4. what is not pinned is answered with 401 or 403 to 405 whoever asks
5. only an operator opens the stream
6. the state is the same before and after all reading and refused requests
7. the audit log says of what was asked that it was refused and nothing else

It is known to fail when

- a new public route that nobody has decided upon (1)
- HEAD is for operators only (2)
- any role that is not observer passes for operator (3, 5, 6, 7)
- a method that a route does not have is answered as if it had it (4)

With its steps and its SQL: `python -m gates explain A3 --full`
"""


def test_a_gate_in_brief_is_what_it_claims_and_what_turns_it_red() -> None:
    read = read_project(Path(__file__).parents[3] / "specs")
    assert "\n".join(brief(read.gates["role-enforcement"])) + "\n" == A3


@pytest.mark.parametrize("specs", ["specs", "specs/examples"])
def test_every_shipped_gate_in_brief_is_on_one_screen_with_all_that_it_claims(specs: str) -> None:
    for gate in read_project(Path(__file__).parents[3] / specs).gates.values():
        told = list(brief(gate))
        assert len("\n".join(told).splitlines()) <= MOST_LINES
        assert {one.that for one in gate.assert_} <= {line.partition(". ")[2] for line in told}
        assert sum(line.startswith("- ") for line in told) >= len(gate.falsified_by)


def test_a_gate_that_says_more_than_a_screen_holds_is_cut_and_says_so(tmp_path: Path) -> None:
    first = project(tmp_path, {FIRST: GATE}).gates["first"]
    (claim,), (defect,) = first.assert_, first.falsified_by
    claims = [
        msgspec.structs.replace(claim, that=f"claim\n{n}", killed_by_sham=n == 30)
        for n in range(40)
    ]
    defects = [msgspec.structs.replace(defect, fails=["claim\n2", "claim\n10"])] * 40
    long = msgspec.structs.replace(first, assert_=claims, falsified_by=defects)
    told = list(brief(long))
    assert len("\n".join(told).splitlines()) == MOST_LINES
    assert told[6] == "1. claim 0"
    assert [line for line in told if "more" in line] == ["- and 31 more", "- and 33 more"]
    assert "- all is refused (3, 11)" in told
    short = msgspec.structs.replace(first, assert_=claims[30:31], falsified_by=[])
    assert f"- {SHAM} (1)" in brief(short)


def test_no_key_is_shown_that_the_author_did_not_set(tmp_path: Path) -> None:
    stream = """  - stream: talk
    open: /v1/stream
    send: [{text: hello}]
  - use: restart"""
    changed = {
        FIRST: GATE.replace("  - use: restart", stream, 1).replace("epic: A\n", "", 1),
        "specs/scenarios/restart.yaml": SCENARIO.replace(
            "steps:", "gives: [id]\nsteps:\n  - request: {get: /}\n    capture: {id: $.id}", 1
        ),
    }
    read = project(tmp_path, changed)
    told = list(in_full(read.gates["first"], read.targets["shop"]))
    assert told[2] == "delta gate. w"
    assert "- **stream** `talk`; open `/v1/stream`; send `text hello`" in told
    assert '- **use** `restart`; with `{"process":"web"}`' in told
