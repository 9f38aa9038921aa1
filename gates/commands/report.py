"""`python -m gates report`: a report on the console, or in a form that something else reads."""

import argparse
import io
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from chaos.errors import HarnessError
from gates.commands.shared import Commands, add_command
from gates.formats import console as render
from gates.formats import github, markdown, sarif
from gates.formats.places import Places, places_of
from gates.formats.printing import SafeConsole
from gates.html import page
from gates.release import rendered
from gates.release.manifest import raise_irregular
from gates.release.report import Report
from gates.release.specs import read_specs
from gates.release.stored import REPORT, bytes_of, session_of, stored_report
from gates.spec.assertion import Judged
from gates.spec.project import read_project

DEFAULT = "text"
EXAMPLES = """\
The exit code is that of the run which the report is about.

examples:
  python -m gates report releases/v4.6.0                                   as the run printed it
  python -m gates report releases/v4.6.0 --format html -o page.html        one file to read and to send
  python -m gates report releases/v4.6.0 --format markdown >> "$GITHUB_STEP_SUMMARY"
  python -m gates report releases/v4.6.0 --format github                   annotations at the lines of the specs
  python -m gates report releases/v4.6.0 --format sarif -o gates.sarif     for code scanning
"""
SPECS = Path("specs")


class Source(Struct, frozen=True, kw_only=True):
    """What there is to render: a release directory with its report, the specs, and what to compare with.

    Specs that nobody has `given` are those that were run.
    """

    directory: Path
    report: Report
    specs: Path
    given: bool
    base: Path | None

    def places(self) -> Places:
        """Where the gates are written. Specs that have changed or gone leave places out, and nothing else."""
        return places_of(read_project(self.specs if self.given else self._own()))

    def _own(self) -> Path:
        """The specs that were run, if they are still there."""
        try:
            own = Path(session_of(self.directory).options.specs)
        except HarnessError:
            return self.specs
        return own if own.is_dir() else self.specs


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "report", act, "the report of a release, in one of several forms", EXAMPLES
    )
    command.add_argument("release", type=Path, metavar="RELEASE_DIR")
    command.add_argument(
        "--format", choices=tuple(FORMATS), default=DEFAULT, help=f"default: {DEFAULT}"
    )
    command.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write there, not to the terminal"
    )
    command.add_argument(
        "--base",
        type=Path,
        metavar="RELEASE_DIR",
        help="html: the release to compare with (default: the last one beside it)",
    )


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Print the report of a release as it stands, or write it to a file; exits as its run did."""
    source = Source(
        directory=arguments.release,
        report=stored_report(arguments.release),
        specs=arguments.specs,
        given=arguments.specs != SPECS,
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
    return bytes_of(source.directory / REPORT)


def _html(source: Source) -> bytes:
    raise_irregular(source.directory)
    if source.base is not None:
        base: Report | None = stored_report(source.base)
    else:
        base = rendered.base_of(source.directory)
    return page.render(source.directory, source.report, base, _judged(source.directory)).encode()


def _judged(directory: Path) -> Mapping[str, Judged]:
    """What each gate asserts; without its specs a page has no distributions."""
    try:
        return read_specs(directory).judged
    except HarnessError:
        return {}


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
