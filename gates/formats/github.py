"""GitHub workflow commands: one annotation per finding, at the line of the spec that says what was broken.

Form and escapes: "Workflow commands for GitHub Actions" in GitHub's documentation.
"""

from collections.abc import Iterator

from gates.formats.findings import Finding, findings
from gates.formats.places import At, Places
from gates.formats.printing import printable
from gates.release.report import Report


def render(report: Report, places: Places) -> str:
    """All annotations, those of missing gates as one, and the verdict as the last."""
    missing = {gate.name for gate in report.gates if gate.status == "MISSING"}
    lines = [_line(finding, places) for finding in findings(report) if finding.gate not in missing]
    lines += list(_missing(report, places))
    kind = "notice" if report.verdict == "PROMOTE" else "error"
    title = _property(f"{report.version}: {report.verdict}")
    lines.append(f"::{kind} title={title}::{_data(report.reason)}")
    return "\n".join(lines) + "\n"


def _missing(report: Report, places: Places) -> Iterator[str]:
    ids = [gate.id for gate in report.gates if gate.status == "MISSING"]
    if ids:
        # A step shows no more than ten warnings, and dozens of these would hide the others.
        message = f"there are no such gates yet: {', '.join(ids)}"
        title = f"title={len(ids)} gates are missing"
        yield f"::warning {_at(places.release)}{title}::{_data(message)}"


def _line(finding: Finding, places: Places) -> str:
    at = places.of(finding.gate or "", finding.that)
    where = f"{_at(at)}title={_property(finding.title)}"
    return f"::{finding.severity} {where}::{_data(finding.message)}"


def _at(place: At | None) -> str:
    """Where it is written; a file that there is not would be worse than none."""
    return f"file={_property(place.file)},line={place.line}," if place is not None else ""


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
