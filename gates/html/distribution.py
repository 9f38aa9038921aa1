"""What an assertion's rows were like: a small histogram of a number, or the values with their counts."""

from collections.abc import Iterator, Sequence

import svg
from markupsafe import Markup
from msgspec import Struct

from gates.html import drawing, words
from gates.html.scale import Scale

WIDTH, HEIGHT = 232, 62
BARS = 28
TOP, BOTTOM, SIDE = 12, 46, 4
LETTER_PX = 5.6
LOG_RATIO = 30.0
"""Values that span more than this are drawn on a logarithmic scale."""


class Bar(Struct, frozen=True):
    """Rows within one part of the scale, and how many of them violate the assertion."""

    index: int
    rows: int
    violating: int


class Histogram(Struct, frozen=True, kw_only=True):
    """The distribution of one number; `limit` is what the assertion compares it with."""

    column: str
    low: float
    high: float
    log: bool
    bars: Sequence[Bar]
    limit: float | None


class Value(Struct, frozen=True):
    """One value with its rows, and how many of them violate the assertion."""

    text: str
    rows: int
    violating: int


class Values(Struct, frozen=True):
    """The values of one column, the most frequent first; `rows` of all of them together."""

    column: str
    values: Sequence[Value]
    rows: int


def is_log(low: float, high: float) -> bool:
    """Whether a range is better read on a logarithmic scale."""
    return low > 0 and high / low > LOG_RATIO


def draw(histogram: Histogram) -> Markup:
    """Bars by number of rows, the violating part of each set off, and the limit as a line."""
    axis = _axis(histogram)
    label = f"{histogram.column}: {_span(histogram)}"
    if histogram.limit is not None:
        label += f", limit {words.number(histogram.limit)}"
    elements = [*_bars(histogram, axis), *_marks(histogram, axis)]
    return drawing.picture(WIDTH, HEIGHT, label, elements)


def edges(histogram: Histogram) -> tuple[float, float]:
    """Where the scale begins and ends: at the values, or at the limit where that lies beyond them."""
    inside = [histogram.low, histogram.high]
    if histogram.limit is not None and (histogram.limit > 0 or not histogram.log):
        inside.append(histogram.limit)
    return min(inside), max(inside)


def _axis(histogram: Histogram) -> Scale:
    low, high = edges(histogram)
    if low == high:
        low, high = (low / 2, high * 2) if histogram.log else (low - 0.5, high + 0.5)
    return Scale(low=low, high=high, start_px=SIDE, end_px=WIDTH - SIDE, log=histogram.log)


def _bars(histogram: Histogram, axis: Scale) -> Iterator[svg.Element]:
    start, end = axis.px(histogram.low), axis.px(histogram.high)
    width = max((end - start) / BARS, 1.6)
    highest = max((bar.rows for bar in histogram.bars), default=1)
    for bar in histogram.bars:
        x = start + (end - start) * min(bar.index, BARS - 1) / BARS
        whole = max((BOTTOM - TOP) * bar.rows / highest, 1.2)
        bad = max(whole * bar.violating / bar.rows, 1.2 if bar.violating else 0)
        if whole > bad:
            yield drawing.box(x, BOTTOM - whole, width - 0.6, whole - bad, "good")
        if bad:
            yield drawing.box(x, BOTTOM - bad, width - 0.6, bad, "bad")


def _marks(histogram: Histogram, axis: Scale) -> Iterator[svg.Element]:
    yield drawing.line(SIDE, BOTTOM, WIDTH - SIDE, BOTTOM, "axis")
    yield from _ends(axis.px(histogram.low), axis.px(histogram.high), histogram)
    if histogram.limit is not None:
        x = axis.px(histogram.limit)
        yield drawing.line(x, TOP - 2, x, BOTTOM, "limit")
        anchor = "end" if x > WIDTH / 2 else "start"
        gap = -3 if anchor == "end" else 3
        text = f"limit {words.number(histogram.limit)}"
        yield drawing.text(x + gap, 9, text, "limit", anchor)


def _ends(start: float, end: float, histogram: Histogram) -> Iterator[svg.Element]:
    """The lowest and the highest value, as one text where two would meet."""
    low, high = words.rounded(histogram.low), words.rounded(histogram.high)
    if end - start >= LETTER_PX * len(low + high) + 8:
        yield drawing.text(start, HEIGHT - 4, low, "tick")
        yield drawing.text(end, HEIGHT - 4, high, "tick", "end")
        return
    both = f"{low} to {high}"
    is_left = start + LETTER_PX * len(both) <= WIDTH - SIDE
    x, anchor = (start, "start") if is_left else (end, "end")
    yield drawing.text(x, HEIGHT - 4, both, "tick", anchor)


def _span(histogram: Histogram) -> str:
    rows = sum(bar.rows for bar in histogram.bars)
    low, high = words.rounded(histogram.low), words.rounded(histogram.high)
    return f"{words.counted(rows, 'row')} from {low} to {high}"
