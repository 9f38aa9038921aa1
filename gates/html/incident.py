"""Renders a page of an incident: what happened as a timeline, then every answer as a table with its SQL."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from gates.html import rendering, timeline, view
from gates.html.timeline import SLOTS, Slot, Timeline, Window
from gates.html.view import Legend
from gates.incidents.analysis import Analysis, Answer
from gates.incidents.bundle import Bundle
from gates.incidents.forms import cell, is_number

NEEDS = ("requests", "events")
"""What a timeline is drawn of."""

MOST_WINDOWS = 40
"""More are left out of a picture, the shortest first."""

_OUTCOME = (
    "CASE outcome WHEN 'completed' THEN 'answered' WHEN 'rejected' THEN 'refused'"
    " WHEN 'shed' THEN 'shed' WHEN 'failed' THEN 'failed' ELSE 'lost' END"
)
_WINDOWS = """
WITH states AS (
    SELECT event, name, at_ms, coalesce(detail->>'$.mode', detail->>'$.to', detail->>'$.state') AS state
    FROM {prefix}events WHERE event IN ('slo', 'breaker')
),
lasting AS (
    SELECT *, lead(at_ms) OVER (PARTITION BY event, name ORDER BY at_ms) AS until_ms FROM states
)
SELECT CASE event WHEN 'slo' THEN 'degrade mode' ELSE name || ' breaker ' || state END, at_ms, until_ms
FROM lasting WHERE state NOT IN ('normal', 'closed')
ORDER BY until_ms - at_ms DESC NULLS FIRST, at_ms, 1 LIMIT ?
"""
"""What lasted: from each event that tells of another state than the usual one to the next one."""


class Picture(Struct, frozen=True):
    """A timeline with its legend; `of` is what it is of."""

    of: str
    drawn: Markup
    legend: Sequence[Legend]


class AnswerView(Struct, frozen=True):
    """An answer with its cells as texts; `numeric` says of each column whether it holds numbers."""

    answer: Answer
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]
    more: int


def pictures(analysis: Analysis, bundles: Mapping[str, Sequence[Bundle]]) -> list[Picture]:
    """What happened to the bundles of each prefix, in milliseconds since the first of them began."""
    made = []
    for prefix, own in bundles.items():
        began = min(bundle.manifest.from_ms for bundle in own)
        ended = max(bundle.manifest.to_ms for bundle in own)
        drawn = _timeline(analysis, prefix, began, max(ended, began + 1.0))
        of = ", ".join(bundle.name for bundle in own)
        made.append(Picture(of, timeline.draw(drawn), list(view.legend(drawn))))
    return made


def render(
    title: str,
    bundles: Mapping[str, Sequence[Bundle]],
    drawn: Sequence[Picture],
    answers: Sequence[Answer],
) -> str:
    """The whole page as one text that loads nothing and runs nothing; all that comes from a bundle is escaped."""
    return rendering.page(
        "incident.html.j2",
        title=title,
        bundles=[bundle for own in bundles.values() for bundle in own],
        pictures=drawn,
        answers=[_view(answer) for answer in answers],
    )


def _timeline(analysis: Analysis, prefix: str, began: float, ended: float) -> Timeline:
    slots = analysis.rows(
        "SELECT kind, (min(since_ms) + max(since_ms)) / 2, count(*), min(took_ms), quantile_disc(took_ms, 0.5), max(took_ms)"
        f" FROM (SELECT began_ms - ? AS since_ms, took_us / 1000 AS took_ms, {_OUTCOME} AS kind FROM {prefix}requests)"
        " GROUP BY kind, floor(since_ms / ?) ORDER BY 1, 2",
        [began, (ended - began) / SLOTS],
    )
    margin = max((ended - began) * 0.015, 1.0)
    windows = analysis.rows(_WINDOWS.format(prefix=prefix), [MOST_WINDOWS])
    return Timeline(
        began_ms=-margin,
        ended_ms=ended - began + margin,
        slots=[_slot(row) for row in slots],
        windows=[_window(row, began, ended) for row in windows],
        windows_are="meanwhile",
    )


def _slot(row: Sequence[object]) -> Slot:
    kind, at, count, fastest, median, slowest = row
    return Slot(
        outcome=str(kind),
        at_ms=float(str(at)),
        count=int(str(count)),
        fastest_ms=float(str(fastest)),
        median_ms=float(str(median)),
        slowest_ms=float(str(slowest)),
    )


def _window(row: Sequence[object], began: float, ended: float) -> Window:
    name, on, off = row
    start = float(str(on)) - began
    end = (float(str(off)) if off is not None else ended) - began
    return Window(name=str(name), on_ms=start, proven_ms=start, off_ms=end, clean_ms=end)


def _view(answer: Answer) -> AnswerView:
    return AnswerView(
        answer,
        [is_number(kind) for kind in answer.columns.values()],
        [[cell(value) for value in row] for row in answer.rows],
        answer.total - len(answer.rows),
    )
