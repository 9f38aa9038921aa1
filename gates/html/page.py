"""Renders `gate-report.html` from a report and the evidence beside it.

What draws is imported when something is drawn: it takes a fifth of a start, and most commands draw nothing.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from gates.html import changes, words
from gates.release.report import GateReport, Report
from gates.release.unproven import roughly
from gates.spec.assertion import Judged

if TYPE_CHECKING:
    from jinja2 import Environment

    from gates.html.view import GateView

NAME = "gate-report.html"
TEMPLATES = Path(__file__).parent / "templates"
FILTERS: Mapping[str, Callable[..., str]] = {
    "seconds": words.seconds,
    "milliseconds": words.milliseconds,
    "number": words.number,
    "cell": words.cell,
    "value": words.value,
    "setting": words.setting,
    "counted": words.counted,
    "roughly": roughly,
}


def render(
    directory: Path, report: Report, base: Report | None, judged: Mapping[str, Judged]
) -> str:
    """The whole page as one text that loads nothing; `base` is the report to compare with, `judged` what each gate asserts.

    All that comes from the report or the evidence is escaped by the templates; the policy in the page's
    head makes a browser refuse every script but ours, and every request.
    """
    from gates.html.view import view  # noqa: PLC0415 - see above

    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    shown = view(directory, report, judged)
    template = _environment().get_template("page.html.j2")
    return template.render(
        report=report,
        summary=report.summary,
        page=shown,
        holding=[gate for gate in shown.read if _holds(gate.report)],
        base=changes.since(base, report) if base is not None else None,
        words=changes.WORDS,
        epics=sorted({gate.epic for gate in report.gates if gate.epic}),
        tally=_tally,
        # Both are files of this package, not text from elsewhere.
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=_source_hash(script),
    )


@cache
def _environment() -> "Environment":
    """The templates, of which each is compiled once for all pages of a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - see above

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


def _holds(gate: GateReport) -> bool:
    """Whether this gate keeps the release from being promoted by what was found of it."""
    return gate.status in ("FAIL", "UNKNOWN") or gate.proven is False


def _source_hash(script: str) -> str:
    """What a Content-Security-Policy calls the one script that may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _tally(gates: "list[GateView]", class_: str) -> list[tuple[str, int]]:
    """How many gates of a class have which status, in the order of a bar; none that is zero."""
    order = ("PASS", "FAIL", "UNKNOWN", "SKIP", "MISSING")
    own = [gate.report.status for gate in gates if gate.report.class_ == class_]
    return [(status, own.count(status)) for status in order if status in own]
