"""The report's page as a reader meets it, in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE

Open = Callable[..., Page]
GATES = "#gates .gate:not([hidden])"
FAILED = "#gate-c4-demo"
READERS = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
}


def test_the_verdict_is_in_view_at_once(open_page: Open) -> None:
    page = open_page()
    expect(page).to_have_title("v9.9.0: HOLD, gate report")
    expect(page.get_by_role("heading", level=1)).to_have_text("HOLD")
    expect(page.get_by_role("heading", level=1)).to_be_in_viewport()
    expect(page.get_by_text("What holds it").last).to_be_in_viewport()


def test_filters_and_search_narrow_the_gates(open_page: Open) -> None:
    page = open_page()
    expect(page.locator(GATES)).to_have_count(11)
    page.get_by_label("Status").select_option("FAIL")
    expect(page.locator(GATES)).to_have_count(1)
    expect(page.locator(".shown")).to_have_text("1 of 11 gates")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(GATES)).to_have_count(11)
    page.get_by_label("Class").select_option("floor")
    expect(page.locator(GATES)).to_have_count(8)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Epic").select_option("B")
    expect(page.locator(GATES)).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Search").fill("SERVICE_MS killed")
    expect(page.locator(GATES)).to_have_count(1)
    page.get_by_label("Search").fill("no such words")
    expect(page.locator(GATES)).to_have_count(0)
    expect(page.get_by_text("No gate matches.")).to_be_visible()


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the gates")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("c4 DEMO")
    expect(page.locator(GATES)).to_have_count(1)
    summary = page.locator(f"{FAILED} > summary")
    for _ in range(20):
        if summary.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(summary).to_be_focused()
    assert summary.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator(FAILED)).to_have_attribute("open", "")
    expect(page.get_by_role("img", name="Requests from").first).to_be_visible()
    page.get_by_label("Search").focus()
    page.keyboard.press("Escape")
    expect(page.locator(GATES)).to_have_count(11)


def test_a_link_opens_its_gate_even_when_it_is_filtered_out(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Status").select_option("PASS")
    page.locator(".holds").get_by_role("link", name="C4 demo").click()
    expect(page.locator(FAILED)).to_have_attribute("open", "")
    expect(page.locator(f"{FAILED} > summary")).to_be_in_viewport()


def test_a_link_from_elsewhere_opens_its_gate(open_page: Open) -> None:
    page = open_page(FAILED)
    expect(page.locator(FAILED)).to_have_attribute("open", "")


def test_it_can_be_read_without_scripts(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    expect(page.locator(".filters")).to_be_hidden()
    page.locator(f"{FAILED} > summary").click()
    expect(page.get_by_text("5 of 49 violating rows").first).to_be_visible()


@pytest.mark.parametrize("reader", READERS)
def test_it_is_accessible(open_page: Open, reader: str) -> None:
    """axe-core's rules of WCAG 2.2, AA, with everything opened: names, order, contrast, landmarks."""
    page = open_page(**READERS[reader])
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}})
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("reader", READERS)
def test_nothing_runs_out_of_the_window(open_page: Open, reader: str) -> None:
    page = open_page(**READERS[reader])
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.evaluate("window.innerWidth")


def test_dark_is_dark(open_page: Open) -> None:
    shades = {
        scheme: open_page(color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert shades == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}


def test_print_shows_what_holds_the_release_opened(open_page: Open) -> None:
    page = open_page()
    page.emulate_media(media="print")
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator(".filters")).to_be_hidden()
    expect(page.locator(f"{FAILED} .assertions")).to_be_visible()
    expect(page.locator("#gate-a1-passing .assertions")).to_be_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_picture_can_be_taken(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    picture = page.screenshot(path=tmp_path / "report.png")
    assert picture.startswith(b"\x89PNG")
