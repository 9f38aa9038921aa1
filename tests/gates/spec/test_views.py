"""Views of a target become part of the gates that use them, and of no other."""

from pathlib import Path

import msgspec
import pytest

from chaos.spec.target import View
from gates.formats.explain import in_full
from gates.lint.gate import lint
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of
from gates.spec.views import used_views
from tests.builders.small_project import GATE, TARGET, project

TARGET_FILE, FIRST = "specs/targets/shop.yaml", "specs/gates/a/first.yaml"
VIEWS = """\
views:
  tried:
    at_least: 2
    query: select seq, status from requests where step = 'tried'
  good:
    at_least: 1
    query: |
      select seq, status from tried
      where status = 200
  sold:
    at_least: 1
    query: select id from orders
"""


def shop(root: Path, views: str = VIEWS, gate: str = GATE) -> Project:
    return project(root, {TARGET_FILE: TARGET + views, FIRST: gate})


def using(source: str, addition: str = "") -> str:
    """The gate with another population."""
    return (
        GATE.replace("from: requests where step = 'tried'", f"from: {source}").replace(
            "assert:", f"{addition}assert:"
        )
    )  # fmt: skip


def said(read: Project) -> list[str]:
    """File, what stands at the place, and message of every problem."""
    found = lint(read)
    return [f"{Path(p.file).name}: {p.source[p.column - 1 :]}: {p.message}" for p in found]


@pytest.mark.parametrize(
    ("gate", "used"),
    [
        (GATE, []),
        (using("tried"), ["tried"]),
        (using("good where status > 0"), ["tried", "good"]),
        (using("requests where step = 'sold' or step <> 'it''s sold' -- not sold"), []),
        (using("mine", "with: {mine: {at_least: 1, query: 'select id as status from SOLD'}}\n"), ["sold"]),
        (using("requests").replace("every: status = 200", "value: count(*)\n    is: = (select count(*) from sold)"), ["sold"]),
    ],
)  # fmt: skip
def test_a_gate_has_the_views_that_it_names_and_those_that_they_name(
    gate: str, used: list[str], tmp_path: Path
) -> None:
    read = shop(tmp_path, gate=gate)
    found = read.gates["first"].with_
    assert [name for name in found if name != "mine"] == used
    assert list(read.judged("first").with_) == list(found)


def test_a_gate_that_uses_a_view_of_a_view_has_no_problems_and_explains_both(
    tmp_path: Path,
) -> None:
    read = shop(
        tmp_path, gate=using("good", "with: {mine: {at_least: 1, query: select * from good}}\n")
    )
    assert said(read) == []
    words = "\n".join(in_full(read.gates["first"], read.targets["shop"]))
    assert "`tried`, a view of target shop, is, with at least 2 rows" in words
    assert "`good`, a view of target shop, is, with at least 1 rows" in words
    assert "`mine` is, with at least 1 rows" in words
    assert "sold" not in words


def test_a_gates_digest_is_that_of_the_views_it_uses(tmp_path: Path) -> None:
    def digest(name: str, before: str = "", after: str = "") -> str:
        views = VIEWS.replace(before, after) if before else VIEWS
        return sha256_of(shop(tmp_path / name, views, using("good")).gates["first"])

    plain = digest("plain")
    assert digest("another limit", "at_least: 2", "at_least: 3") != plain
    assert digest("another query", "step = 'tried'", "step = 'asked'") != plain
    assert digest("unused", "select id from", "select id + 1 as id from") == plain


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("status from tried", "statsu from tried", 'shop.yaml: statsu from tried: there is no column statsu'),
        ("from orders", "from ordres", "shop.yaml: ordres: there is no table ordres"),
        ("at_least: 2", "at_least: 0", "shop.yaml: 0: at_least must be 1 or more"),
        ("  sold:", "  orders:", "shop.yaml: at_least: 1: there is another table orders"),
        ("  good:", "  requests:", "shop.yaml: at_least: 1: there is another table requests"),
        ("from tried", "from sold", "shop.yaml: sold: there is no table sold"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_view_is_told_once_where_it_stands(
    before: str, after: str, problem: str, tmp_path: Path
) -> None:
    assert before in VIEWS
    gate = using("good") if "statsu" in after else GATE
    (found,) = said(shop(tmp_path, VIEWS.replace(before, after, 1), gate))
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "addition",
    [
        "with: {good: {at_least: 1, query: select * from requests}}\n",
        "data: {good: [{status: 1}]}\n",
    ],
)
def test_a_gate_does_not_hide_a_view(addition: str, tmp_path: Path) -> None:
    (found,) = said(shop(tmp_path, gate=using("requests", addition)))
    assert found.endswith(": good is a view of target 'shop' already")


def test_names_in_comments_and_texts_are_none(tmp_path: Path) -> None:
    gate = project(tmp_path).gates["first"]
    source = "requests where step = 'a' /* b\n */ and load = '--' and x = c"
    asserts = [msgspec.structs.replace(gate.assert_[0], from_=source)]
    views = {name: View(query="select 1", at_least=1) for name in "abc"}
    assert list(used_views(msgspec.structs.replace(gate, assert_=asserts), views)) == ["c"]
