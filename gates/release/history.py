"""What came before a full run, and what that means for it: nothing can be repeated until it is green."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from chaos.errors import HarnessError
from gates.release import ledger
from gates.release.report import (
    NO_LEDGER,
    AttemptReport,
    GateReport,
    LedgerReport,
    Report,
    timestamp_of,
)
from gates.release.stored import read_loosely
from gates.run.session import Session
from gates.spec.gate import Gate
from gates.spec.snapshot import sha256_of


class Reported(Struct, frozen=True, kw_only=True):
    """A full run that is known besides the ledger: from its report, or from the machine's own ledger.

    Without an outcome it never ended.
    """

    attempt: ledger.Attempt
    outcome: ledger.Outcome | None


def reported(releases: Path) -> list[Reported]:
    """Every full run of which a report is kept, so that losing the ledger does not lose its failures."""
    found = []
    for path in sorted(releases.glob("*/gate-report.json")):
        try:
            report = read_loosely(path, Report)
        except HarnessError:
            continue
        if report.partial:
            continue
        attempt = ledger.Attempt(
            session=report.session,
            at_ms=dt.datetime.fromisoformat(report.timestamp).timestamp() * 1000,
            inputs={**report.inputs, "versions": sha256_of(report.versions)},
            release=report.version,
            gates={gate.name: gate.spec_sha256 for gate in report.gates if gate.spec_sha256},
        )
        outcome = ledger.Outcome(
            session=report.session,
            verdict=report.verdict,
            statuses={gate.name: gate.status for gate in report.gates},
        )
        found.append(Reported(attempt=attempt, outcome=outcome))
    return found


def beside(releases: Path, named: Path | None) -> list[Reported]:
    """Every full run of this machine that the ledger which was named does not know."""
    rested_on, *others = ledger.places(releases, named)
    listed = {entry.session for entry in ledger.read(rested_on).entries}
    return [
        Reported(attempt=attempt, outcome=outcome)
        for other in others
        for attempt, outcome in ledger.outcomes(ledger.read(other).entries)
        if attempt.session not in listed
    ]


class History(Struct, frozen=True):
    """What came before: all attempts at the same source, what they mean, and reasons to hold."""

    attempts: list[AttemptReport]
    past: ledger.Past
    ledger: LedgerReport
    problems: list[str]


NOTHING = History([], ledger.Past(flaky=[], unended=[]), NO_LEDGER, [])
"""The history of a run that decides no release: it is in no ledger."""


def history_of(
    shipped: Path,
    discontinued: str | None,
    known: Sequence[Reported],
    session: Session,
    specs: Mapping[str, Gate],
    entries: Sequence[GateReport],
) -> History:
    """The history of a full run, from the ledger that is shipped with it and the reports that were there.

    `discontinued` is what was found missing from the ledger when the run ended.
    """
    kept = ledger.read(shipped)
    attempts = ledger.outcomes(kept.entries)
    own = next((one for one, _ in attempts if one.session == session.id), None)
    wrong = [*kept.problems, *([discontinued] if discontinued is not None else [])]
    digests = {name: sha256_of(gate) for name, gate in specs.items()}
    if own is None or own.inputs != session.inputs or own.gates != digests:
        wrong.append("it has no line of this run")
    wrong += _contradicted(attempts, known)
    report = LedgerReport(
        lines=kept.lines,
        head=kept.head,
        problem="; ".join(wrong) or None,
        named=session.options.ledger,
        since=timestamp_of(attempts[0][0].at_ms) if attempts else None,
        first=kept.first,
    )
    problems = [f"the ledger of attempts cannot be relied on: {text}" for text in wrong]
    if own is None:
        return History([], NOTHING.past, report, problems)
    earlier = _earlier(attempts, known, own)
    past = ledger.past_of(own, earlier, {gate.name: gate.status for gate in entries})
    if past.unended:
        names = ", ".join(past.unended)
        problems.append(
            f"a run at the same inputs never ended, and nobody knows what it saw: {names}"
        )
    shown = [_shown(attempt, outcome, own) for attempt, outcome in earlier]
    shown = [one for one in shown if "source" not in one.differs]
    return History(shown, past, report, problems)


def _contradicted(
    attempts: Sequence[tuple[ledger.Attempt, ledger.Outcome | None]], known: Sequence[Reported]
) -> Iterator[str]:
    """Attempts of which the ledger does not say what their reports say."""
    said = {attempt.session: outcome for attempt, outcome in attempts}
    for one in known:
        session = one.attempt.session
        outcome = said.get(session)
        if session not in said or one.outcome is None:
            continue
        if outcome is None or outcome.statuses != one.outcome.statuses:
            yield f"it does not say what the report of {session} says"


def _earlier(
    attempts: Sequence[tuple[ledger.Attempt, ledger.Outcome | None]],
    known: Sequence[Reported],
    own: ledger.Attempt,
) -> list[tuple[ledger.Attempt, ledger.Outcome | None]]:
    """Every attempt before this one, those that are known from their reports alone included."""
    listed = {attempt.session for attempt, _ in attempts}
    others = [(one.attempt, one.outcome) for one in known if one.attempt.session not in listed]
    place = [attempt.session for attempt, _ in attempts].index(own.session)
    return [*others, *attempts[:place]]


def _shown(
    attempt: ledger.Attempt, outcome: ledger.Outcome | None, own: ledger.Attempt
) -> AttemptReport:
    statuses = outcome.statuses if outcome is not None else {}
    return AttemptReport(
        session=attempt.session,
        at=timestamp_of(attempt.at_ms),
        ended=outcome is not None,
        failed=sorted(gate for gate, status in statuses.items() if status == "FAIL"),
        unknown=sorted(gate for gate, status in statuses.items() if status == "UNKNOWN"),
        differs=ledger.differing(attempt, own),
    )
