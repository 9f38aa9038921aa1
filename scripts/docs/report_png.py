"""Takes pictures of a release's page: `python scripts/docs/report_png.py RELEASE_DIR GATE_ID`.

Writes docs/report.png, the page as it opens, and docs/report-gate.png, how a gate of it goes on when it is
opened. Needs Chromium and what `nox -s browser` installs.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gates.html.page import NAME

DOCS = Path(__file__).resolve().parents[2] / "docs"
WIDTH, HEIGHT = 1180, 760
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main(release: Path, gate_id: str) -> None:
    """Take the pictures of the page as it lies in the release."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        opened.goto((release / NAME).resolve().as_uri())
        opened.screenshot(path=DOCS / "report.png")
        gate = opened.locator(f"details[id^=gate-{gate_id.lower()}-]")
        gate.locator("> summary").click()
        opened.mouse.move(0, 0)
        place = gate.bounding_box()
        assert place is not None
        top = place["y"] + opened.evaluate("window.scrollY")
        clip = {"x": 0, "y": top - 8, "width": WIDTH, "height": HEIGHT}
        opened.screenshot(path=DOCS / "report-gate.png", full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
