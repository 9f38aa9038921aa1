"""What changed since an earlier report, as the page shows it: what needs a look comes first."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.errors import HarnessError
from gates.release.report import Report
from gates.release.stored import read_loosely
from gates.verify.diff import Change, Direction, compare

ORDER: tuple[Direction, ...] = ("worse", "loosened", "unclear", "changed", "tightened", "better")
WORDS: Mapping[Direction, str] = {
    "worse": "▼ worse",
    "loosened": "▼ easier to pass",
    "unclear": "● to be read",
    "changed": "● changed",
    "tightened": "▲ harder to pass",
    "better": "▲ better",
}
"""Each with a sign, so that no colour is needed."""


class Since(Struct, frozen=True, kw_only=True):
    """The report that was compared with, and all changes since then."""

    version: str
    verdict: str
    timestamp: str
    changes: list[Change]


def last_report(releases: Path, report: Report) -> Report | None:
    """The newest report below `releases` that is older than this one, or None.

    A release of another version that was promoted is what a reader means by "the last release"; without
    one it is whatever was reported last. What decides no release, such as a baseline, or cannot be read is no
    base for a comparison.
    """
    found = [
        other
        for path in sorted(releases.glob("*/gate-report.json"))
        if (other := _readable(path)) is not None
        and not other.partial
        and other.timestamp < report.timestamp
    ]
    promoted = [r for r in found if r.verdict == "PROMOTE" and r.version != report.version]
    return max(promoted or found, key=lambda other: other.timestamp, default=None)


def since(base: Report, report: Report) -> Since:
    """All changes from `base` to `report`, but of gates that were not part of this run."""
    skipped = {gate.name for gate in report.gates if gate.status == "SKIP"}
    changes = compare(_without(base, skipped), _without(report, skipped)).changes
    return Since(
        version=base.version,
        verdict=base.verdict,
        timestamp=base.timestamp,
        changes=sorted(changes, key=lambda change: ORDER.index(change.direction)),
    )


def _without(report: Report, names: set[str]) -> Report:
    gates = [gate for gate in report.gates if gate.name not in names]
    return msgspec.structs.replace(report, gates=gates)


def _readable(path: Path) -> Report | None:
    try:
        return read_loosely(path, Report)
    except HarnessError:
        return None
