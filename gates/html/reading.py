"""From sealed evidence to what the page draws. Everything is counted by DuckDB; few rows come out of it."""

import time
from collections.abc import Iterator, Mapping, Sequence

import duckdb
from msgspec import Struct

from chaos.evidence import schema
from gates.html import words
from gates.html.distribution import BARS, Bar, Histogram, Value, Values, is_log
from gates.html.timeline import SLOTS, Life, Slot, Timeline, Window
from gates.judge import assertions, binding, leaves, syntax, tables, worlds
from gates.judge.binding import Bound
from gates.judge.comparator import Simple
from gates.judge.compiler import compile_gate
from gates.judge.connection import Evidence, RunKey
from gates.judge.plan import AssertPlan, GatePlan
from gates.judge.worlds import OBSERVED
from gates.release.report import FaultReport
from gates.spec.assertion import Judged

TIME_LIMIT_S = 30.0
"""How long the distributions of one gate may take; then there is no page, as half of one could not be drawn again."""

MOST_VALUES = 8
MOST_COLUMNS = 2
LONGEST_VALUE = 60
"""Columns with more or longer values than this are not told apart by counting them."""

_WHOLE = ("BIGINT", "INTEGER", "HUGEINT")
_NUMERIC = ("DOUBLE", "FLOAT", "DECIMAL", *_WHOLE)

_OUTCOME = (
    "CASE WHEN status IS NULL THEN 'lost' WHEN status < 400 THEN 'answered'"
    " WHEN status < 500 THEN 'refused' ELSE 'failed' END"
)


class Probes(Struct, frozen=True):
    """What probes of one fault saw in one phase, through the link and around it."""

    phase: str
    link: str
    direct: str


class Shape(Struct, frozen=True):
    """What the rows of one assertion were like; both are empty where that would say nothing."""

    histogram: Histogram | None
    values: Sequence[Values]


class _Number(Struct, frozen=True):
    """SQL of a number per row, what it is compared with, and whether it is a whole one."""

    sql: str
    limit: float | None
    is_whole: bool


def timeline_of(evidence: Evidence, key: RunKey, faults: Sequence[FaultReport]) -> Timeline | None:
    """What is drawn of one run, or None when it sent nothing and had no fault."""
    extent = evidence.connection.execute(
        "SELECT min(sent_ms), max(coalesce(done_ms, sent_ms))"
        f" FROM {tables.stored('requests')} WHERE run_id = ? AND gate = ?",
        list(key),
    ).fetchone()
    known = [ms for ms in (extent or ()) if ms is not None]
    for fault in faults:
        moments = (fault.on_ms, fault.off_ms, fault.clean_ms)
        known += [ms for ms in moments if ms is not None]
    if not known:
        return None
    began, ended = min(known), max(known)
    margin = max((ended - began) * 0.015, 1.0)
    began, ended = began - margin, ended + margin
    return Timeline(
        began_ms=began,
        ended_ms=ended,
        slots=_slots(evidence, key, began, ended),
        windows=[_window(fault) for fault in faults],
        lives=_lives(evidence, key),
    )


def _window(fault: FaultReport) -> Window:
    return Window(
        name=fault.fault,
        on_ms=fault.on_ms,
        proven_ms=fault.proven_ms,
        off_ms=fault.off_ms,
        clean_ms=fault.clean_ms,
        proven=bool(fault.proven),
    )


def _slots(evidence: Evidence, key: RunKey, began: float, ended: float) -> list[Slot]:
    rows = evidence.connection.execute(
        "SELECT outcome_kind, (min(sent_ms) + max(sent_ms)) / 2, count(*),"
        " min(took_ms), quantile_disc(took_ms, 0.5), max(took_ms)"
        f" FROM (SELECT sent_ms, done_ms - sent_ms AS took_ms, {_OUTCOME} AS outcome_kind"
        f" FROM {tables.stored('requests')} WHERE run_id = ? AND gate = ?)"
        " GROUP BY outcome_kind, floor((sent_ms - ?) / ?) ORDER BY 1, 2",
        [*key, began, (ended - began) / SLOTS],
    ).fetchall()
    return [
        Slot(
            outcome=outcome,
            at_ms=at,
            count=count,
            fastest_ms=fastest,
            median_ms=median,
            slowest_ms=slowest,
        )
        for outcome, at, count, fastest, median, slowest in rows
    ]


def _lives(evidence: Evidence, key: RunKey) -> list[Life]:
    """The lives of those processes of which one ended before the run was taken down."""
    rows = evidence.rows(schema.Process, key) if evidence.has("processes") else []
    ended = {row.process for row in rows if row.ended_by != "teardown"}
    return [
        Life(
            process=row.process,
            started_ms=row.started_ms,
            exited_ms=row.exited_ms,
            early=row.ended_by != "teardown",
        )
        for row in rows
        if row.process in ended
    ]


def inside(evidence: Evidence, key: RunKey) -> dict[str, int]:
    """How many requests were wholly inside of each fault."""
    rows = evidence.connection.execute(
        "SELECT fault, count(*) FROM (SELECT unnest(during) AS fault"
        f" FROM {tables.stored('requests')} WHERE run_id = ? AND gate = ?) GROUP BY fault",
        list(key),
    ).fetchall()
    return {str(fault): int(count) for fault, count in rows}


def probes_of(evidence: Evidence, key: RunKey, fault: str) -> list[Probes]:
    """The signature of a fault as its probes saw it, phase by phase."""
    rows = evidence.rows(schema.LinkProbe, key) if evidence.has("link_probes") else []
    own = [row for row in rows if row.fault == fault]
    phases = [
        phase for phase in ("before", "start", "end", "after") if any(r.phase == phase for r in own)
    ]
    return [
        Probes(
            phase,
            *(
                _seen([row for row in own if row.phase == phase and row.path == path])
                for path in ("link", "direct")
            ),
        )
        for phase in phases
    ]


def _seen(rows: Sequence[schema.LinkProbe]) -> str:
    """`refused (new), eof (established)`, or the first byte of those that were answered."""
    failed: dict[str, int] = {}
    answered: dict[str, list[float]] = {}
    for row in rows:
        if row.failure is not None:
            said = f"{row.failure} ({row.connection})"
            failed[said] = failed.get(said, 0) + 1
        else:
            times = answered.setdefault(row.connection, [])
            times += [row.first_byte_after_ms] if row.first_byte_after_ms is not None else []
    parts = [f"{n} times {said}" if n > 1 else said for said, n in failed.items()]
    for connection, times in answered.items():
        after = f" after {words.milliseconds(sorted(times)[len(times) // 2])}" if times else ""
        parts.append(f"answered{after} ({connection})")
    return ", ".join(parts) or words.NONE


def shapes_of(evidence: Evidence, judged: Judged, key: RunKey) -> Mapping[str, Shape]:
    """What the rows of each assertion were like, by what it says."""
    plan = compile_gate(evidence.connection, judged)
    if plan.problems:
        return {}
    found: dict[str, Shape] = {}
    began_s = time.monotonic()
    with binding.bound(evidence, plan, key, TIME_LIMIT_S) as bound:
        for own in plan.asserts:
            if own is not None and own.relation not in bound.broken:
                try:
                    found[own.assertion.that] = _shape(own, plan, bound)
                except duckdb.Error:
                    # The verdict says what is wrong with the SQL; there is then nothing to draw.
                    continue
    if time.monotonic() - began_s > TIME_LIMIT_S:
        raise TimeoutError(f"its pictures of {judged.gate} take longer than {TIME_LIMIT_S:g} s")
    return found


def _shape(plan: AssertPlan, gate: GatePlan, bound: Bound) -> Shape:
    if plan.test == "value" and plan.quantile is None:
        # One number over all rows: no row of it satisfies or violates anything.
        return Shape(None, ())
    connection, before = bound.connection, worlds.before(OBSERVED, [plan], gate, bound)
    for number in _numbers(plan, bound.columns[plan.relation]):
        histogram = _histogram(connection, before, plan, number)
        if histogram is not None:
            return Shape(histogram, ())
    told = (
        _values(connection, before, plan, leaf.column, sql)
        for leaf, sql in zip(plan.split.leaves, plan.leaf_sql, strict=True)
        if leaf.column not in leaves.COMMON
    )
    return Shape(None, [values for values in told if values is not None][:MOST_COLUMNS])


def _numbers(plan: AssertPlan, columns: Mapping[str, str]) -> Iterator[_Number]:
    """Numbers that the assertion compares with others, in the order in which it names them."""
    if plan.quantile is not None:
        limit = plan.comparator.bound if isinstance(plan.comparator, Simple) else None
        yield _Number(plan.quantile.argument, float(limit) if limit is not None else None, False)
        return
    limits = _limits(plan)
    for index, (leaf, sql) in enumerate(zip(plan.split.leaves, plan.leaf_sql, strict=True)):
        kind = columns.get(leaf.column, "") if leaf.type is None else ""
        limit_of = limits.get(f"leaf_{index}")
        if kind.startswith(_NUMERIC) and leaf.column not in leaves.COMMON and limit_of is not None:
            yield _Number(sql, limit_of, kind in _WHOLE)


def _limits(plan: AssertPlan) -> dict[str, float]:
    """What each leaf is compared with, where that is a number and the comparison an inequality."""
    limits: dict[str, float] = {}
    for node in syntax.walk(plan.split.rewritten):
        kind = syntax.text_of(node, "type")
        if not kind.startswith(("COMPARE_LESS", "COMPARE_GREATER")):
            continue
        sides = syntax.child(node, "left"), syntax.child(node, "right")
        for side, other in (sides, sides[::-1]):
            literal = syntax.constant(other)
            names = syntax.names_of(side)
            if names and literal and literal[0] in ("INTEGER", "NUMERIC"):
                limits.setdefault(names[0], float(literal[1]))
    return limits


def _rows_sql(before: str, plan: AssertPlan, value: str) -> str:
    """One value per row of the population, and whether the row violates the assertion."""
    return f"{before}SELECT ({value}\n) AS shown, ({assertions.violates(plan)}) AS bad FROM {plan.source}\n"


def _histogram(
    connection: duckdb.DuckDBPyConnection, before: str, plan: AssertPlan, number: _Number
) -> Histogram | None:
    rows = f"(SELECT shown::DOUBLE AS shown, bad FROM ({_rows_sql(before, plan, number.sql)}))"
    finite = "shown IS NOT NULL AND isfinite(shown)"
    extent = connection.execute(
        f"SELECT min(shown), max(shown), count(DISTINCT shown), count(*) FROM {rows} WHERE {finite}"
    ).fetchone()
    if extent is None or extent[0] is None or int(extent[2]) < 3:
        return None
    if number.is_whole and int(extent[2]) <= MOST_VALUES and int(extent[3]) > 2 * int(extent[2]):
        # A few whole numbers in many rows, like status codes, are better counted one by one.
        return None
    low, high = float(extent[0]), float(extent[1])
    log = is_log(low, high)
    place = "ln(shown / ?) / ln(? / ?)" if log else "(shown - ?) / (? - ?)"
    bars = connection.execute(
        f"SELECT least(floor(({place}) * {BARS}), {BARS - 1})::BIGINT AS slot, count(*), count(*) FILTER (bad)"
        f" FROM {rows} WHERE {finite} GROUP BY slot ORDER BY slot",
        [low, high, low],
    ).fetchall()
    return Histogram(
        column=number.sql.strip(),
        low=low,
        high=high,
        log=log,
        bars=[Bar(int(slot), int(count), int(bad)) for slot, count, bad in bars],
        limit=number.limit,
    )


def _values(
    connection: duckdb.DuckDBPyConnection, before: str, plan: AssertPlan, column: str, value: str
) -> Values | None:
    """The values of a column with their counts, or None when they are too many or too long to be told apart."""
    found = connection.execute(
        f"SELECT shown::VARCHAR, count(*), count(*) FILTER (bad) FROM ({_rows_sql(before, plan, value)})"
        f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES + 1}"
    ).fetchall()
    values = [
        Value("NULL" if text is None else str(text) or "''", int(rows), int(bad))
        for text, rows, bad in found
    ]
    if not 1 < len(values) <= MOST_VALUES or any(len(v.text) > LONGEST_VALUE for v in values):
        return None
    return Values(value.strip() or column, values, sum(v.rows for v in values))
