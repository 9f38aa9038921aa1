"""Numbers and values as they are read: units last, thin where precision says nothing."""

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping

from gates.judge import telling

NONE = "—"
CELL_LENGTH = 200
"""How much of a value a cell shows; the report has all that there is."""


def seconds(ms: float | None) -> str:
    """Milliseconds as seconds."""
    if ms is None:
        return NONE
    value = ms / 1000
    digits = 0 if value == round(value) else 1 if abs(value) >= 1 else 2
    return f"{value:.{digits}f} s"


def milliseconds(ms: float | None) -> str:
    """A duration in the unit that suits it."""
    if ms is None:
        return NONE
    if abs(ms) >= 1000:
        return f"{ms / 1000:.3g} s"
    return f"{ms:.3g} ms" if abs(ms) >= 0.1 or ms == 0 else f"{ms * 1000:.3g} µs"


def moment(ms: float) -> str:
    """Milliseconds since 1970 as date and time in UTC."""
    since = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since + dt.timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M:%S")


def number(value: object) -> str:
    """A count or a measured value: thousands apart, at most four digits behind the point."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return cell(value)
    if isinstance(value, int) or (math.isfinite(value) and value == round(value)):
        return f"{int(value):,}"
    return f"{value:,.4g}"


def rounded(value: float) -> str:
    """A value at the edge of a picture: three digits say where it lies."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(value: object) -> str:
    """Any value in one line; JSON as JSON."""
    if value is None:
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= CELL_LENGTH else f"{text[:CELL_LENGTH]}…"


def value(one: object) -> str:
    """A value of a row as SQL has it, so that NULL and an empty text differ."""
    return telling.value(one, CELL_LENGTH)


def setting(value: object) -> str:
    """Attributes or settings in one line: `breaker.open_for_s 0.3, queue.limit 8`."""
    return ", ".join(f"{name} {cell(item)}".strip() for name, item in _flat("", value)) or NONE


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, item in value.items():
        yield from _flat(f"{name}.{key}" if name else str(key), item)


def counted(number_of: int, noun: str, several: str | None = None) -> str:
    """`1 row`, `1,960 rows`."""
    return f"{number_of:,} {noun if number_of == 1 else several or noun + 's'}"
