"""Chromium of the system, driven by Playwright; whoever runs these tests without it is told how to get it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, sync_playwright

from gates.html import page as html_page
from tests.gates.html.releases import judged_gate, missing, release, report_of

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without one the tests fail, since what was not tried is no success."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.fail(f"there is no Chromium ({', '.join(PROGRAMS)}): apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    launched = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a release: a gate that failed, one that passed, one unknown, and some that are missing."""
    directory, report = release(tmp_path_factory.mktemp("release"))
    failed = report.gates[1]
    passed = msgspec.structs.replace(failed, id="A1", epic="A", name="passing", status="PASS")
    unknown = msgspec.structs.replace(
        failed,
        id="B2",
        epic="B",
        name="unmeasured",
        status="UNKNOWN",
        detail="run: it was killed",
        reasons=["run: it was killed"],
    )
    floor = [missing(f"F{number:02}", f"floor-{number}") for number in range(1, 9)]
    gates = [*floor, passed, unknown, failed]
    base = report_of([passed, missing("C4", "demo")])
    drawn = html_page.render(directory, report_of(gates), base, {"demo": judged_gate()})
    path = directory / html_page.NAME
    path.write_text(drawn, encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser: Browser, report_file: Path) -> Iterator[Callable[..., Page]]:
    """Opens the page as a reader with these habits does. At the end nothing may have gone wrong in it."""
    problems: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        problems.append(f"console: {message.text}")

    def asked(request: Request) -> None:
        if request.url.partition("#")[0] not in (report_file.as_uri(), "data:,"):
            problems.append(f"request: {request.url}")

    def opened(fragment: str = "", **habits: object) -> Page:
        context = browser.new_context(**({"viewport": WIDE} | habits))  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", asked)
        page.goto(report_file.as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
