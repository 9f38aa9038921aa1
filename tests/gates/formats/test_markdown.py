"""The Markdown summary: complete, and inert whatever stands in it."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gates.formats import markdown
from gates.formats.printing import printable
from gates.release.report import Report
from tests.gates.html.releases import HOSTILE, hostile_release, missing, release, report_of

OWN_HTML = {"<details>", "</details>"}


def tokens(text: str) -> list[Token]:
    """All tokens as GitHub would read them, as far as tables and links go."""
    parser = MarkdownIt("commonmark").enable("table")
    return [inner for token in parser.parse(text) for inner in (token, *(token.children or []))]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return release(tmp_path_factory.mktemp("release"))[1]


def test_it_says_what_holds_the_release(report: Report) -> None:
    said = markdown.render(report)
    assert said.startswith("## ❌ v9\\.9\\.0: HOLD\n")
    for expected in (
        "| 0 of 1 | 0 of 2 | 1 of 3 | 1 | 0 | 2 | 0 |",
        markdown.text(
            "everything is answered soon: expected every row has service_ms < 200; found 49 of 200"
        ),
        "again: `nox -s gates -- C4`",
        "❌ broken",
        "2 missing gates",
    ):
        assert expected in said, expected


def test_a_promotion_is_short() -> None:
    gate = msgspec.structs.replace(missing("A1", "a"), status="PASS")
    said = markdown.render(report_of([gate], verdict="PROMOTE", reason="all pass", invariants=[]))
    assert said.startswith("## ✅ v9\\.9\\.0: PROMOTE")
    assert "What holds it" not in said


def test_hostile_texts_have_no_effect(tmp_path: Path) -> None:
    hostile = hostile_release(tmp_path)[1]
    found = tokens(markdown.render(hostile))
    html = [token.content for token in found if token.type in ("html_block", "html_inline")]
    assert html
    assert not [part for part in html if "script" in part or "img" in part]
    assert not {token.type for token in found} & {"link_open", "image"}


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_shown_as_it_is(value: str) -> None:
    found = tokens(f"- x {markdown.text(value)} y")
    assert {token.type for token in found} <= {
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "text",
        "text_special",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    }
    shown = "".join(token.content for token in found if token.type in ("text", "text_special"))
    kept = printable(" ".join(value.split()))
    assert shown.split() == f"x {kept} y".split()


@given(st.text(alphabet="`|\\ a<>\n", max_size=20))
def test_any_code_is_one_piece_of_code(value: str) -> None:
    found = tokens(f"| a |\n|---|\n| {markdown.code(value)} |")
    cells = [token for token in found if token.type == "code_inline"]
    assert len(cells) == 1
    assert not [token for token in found if token.type == "html_inline"]


def test_hostile_ids_do_not_break_the_table() -> None:
    gate = msgspec.structs.replace(missing(HOSTILE, "a|b\nc"), status="PASS", title="x | y")
    found = tokens(markdown.render(report_of([gate])))
    rows = [token for token in found if token.type == "tr_open"]
    assert len(rows) == 1 + 1 + (1 + 3) + (1 + 1)
