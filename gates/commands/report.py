"""`python -m gates report`: a report on the console, or in a form that something else reads."""

import argparse
import io
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from chaos import regular
from gates.formats import console as render
from gates.formats import github, markdown, sarif
from gates.formats.places import Places, places_of
from gates.formats.printing import SafeConsole
from gates.html import changes, page
from gates.release.report import Report
from gates.release.stored import stored_report
from gates.spec.project import read_project

DEFAULT = "text"


class Source(Struct, frozen=True, kw_only=True):
    """What there is to render: a release directory with its report, the specs, and what to compare with."""

    directory: Path
    report: Report
    specs: Path
    base: Path | None

    def places(self) -> Places:
        """Where the gates are written. Specs that have changed or gone leave places out, and nothing else."""
        return places_of(read_project(self.specs))


def report(arguments: argparse.Namespace, console: Console) -> int:
    """Print the report of a release as it stands, or write it to a file; exits as its run did."""
    source = Source(
        directory=arguments.release,
        report=stored_report(arguments.release),
        specs=arguments.specs,
        base=arguments.base,
    )
    if arguments.format == DEFAULT and arguments.output is None:
        render.print_report(source.report, source.directory, console)
        return source.report.exit_code
    content = FORMATS[arguments.format](source)
    if arguments.output is not None:
        arguments.output.write_bytes(content)
        console.print(f"wrote {arguments.output}", markup=False)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    return source.report.exit_code


def _text(source: Source) -> bytes:
    plain = io.StringIO()
    render.print_report(source.report, source.directory, SafeConsole(file=plain, soft_wrap=True))
    return plain.getvalue().encode()


def _json(source: Source) -> bytes:
    return regular.read(source.directory / "gate-report.json")


def _html(source: Source) -> bytes:
    base = (
        stored_report(source.base)
        if source.base is not None
        else changes.last_report(source.directory.resolve().parent, source.report)
    )
    return page.render(source.directory, source.report, base).encode()


def _sarif(source: Source) -> bytes:
    return sarif.render(source.report, source.places(), _version())


def _version() -> str | None:
    try:
        return version(sarif.TOOL)
    except PackageNotFoundError:
        return None


FORMATS: Mapping[str, Callable[[Source], bytes]] = {
    DEFAULT: _text,
    "json": _json,
    "markdown": lambda source: markdown.render(source.report).encode(),
    "junit": lambda source: render.junit(source.report),
    "sarif": _sarif,
    "github": lambda source: github.render(source.report, source.places()).encode(),
    "html": _html,
}
