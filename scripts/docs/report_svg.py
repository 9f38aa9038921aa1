"""Draws the report of a release as the README shows it: `python scripts/docs/report_svg.py RELEASE_DIR`."""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gates.formats.console import print_report
from gates.release.stored import stored_report

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "report.svg"
COLUMNS = 118
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def draw(release: Path) -> str:
    """The report as SVG that needs no font or file from elsewhere."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    report = stored_report(release)
    print_report(report, Path("releases") / report.version, console)
    svg = console.export_svg(title="nox -s gates", unique_id="report")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]+;", f"font-family: {FONTS};", svg)


if __name__ == "__main__":
    PICTURE.write_text(draw(Path(sys.argv[1])), encoding="utf-8")
