"""What is rendered of a release beside its report. Each is rendered again, and compared, when the release is verified."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from chaos.errors import told
from gates.formats import console
from gates.formats.printing import printable
from gates.html import page
from gates.release.manifest import Flaw
from gates.release.report import Report
from gates.release.stages import Judgement
from gates.release.stored import REPORT, bytes_of, read_loosely, written

BASE: Final = "base-report.json"
"""The report with which the page compares; where there is none, it says so."""


def base_of(directory: Path) -> Report | None:
    """The report that a release was compared with, or None."""
    path = directory / BASE
    return read_loosely(path, Report) if path.exists() else None


def _page(directory: Path, found: Judgement) -> bytes:
    judged = found.shipped.specs.judged
    return page.render_open(found.evidence, found.report, base_of(directory), judged).encode()


RENDERED: Final[Mapping[str, Callable[[Path, Judgement], bytes]]] = {
    REPORT: lambda _, found: written(found.report),
    "junit.xml": lambda _, found: console.junit(found.report),
    page.NAME: _page,
}
OPTIONAL: Final = frozenset({page.NAME})
"""What a release may do without: `--no-page` draws none, and the report stands, whatever becomes of its pictures."""


def write(directory: Path, found: Judgement, *, drawn: bool = True) -> None:
    """Everything that is rendered; without a page where it is not to be `drawn`, or cannot be."""
    for name, render in RENDERED.items():
        if name in OPTIONAL and not drawn:
            continue
        try:
            content = render(directory, found)
        except Exception as error:
            if name not in OPTIONAL:
                raise
            reason = f"{name} could not be rendered: {told(error)}"
            print(printable(reason), file=sys.stderr)
        else:
            (directory / name).write_bytes(content)


def flaws(directory: Path, found: Judgement) -> Iterator[Flaw]:
    """Every file beside the report that is not what would be rendered now."""
    for name, render in RENDERED.items():
        path = directory / name
        if name == REPORT:
            continue
        if not path.exists():
            if name not in OPTIONAL:
                yield Flaw(path=name, problem="missing")
        elif bytes_of(path) != render(directory, found):
            yield Flaw(path=name, problem="it does not say what follows from the release")
