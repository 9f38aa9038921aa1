"""The picture of one run: its requests over time, the fault windows behind them, and lives that ended early."""

from collections.abc import Iterator, Mapping, Sequence

import svg
from markupsafe import Markup
from msgspec import Struct

from gates.html import drawing, scale, words
from gates.html.scale import Scale

WIDTH = 760
LEFT, RIGHT = 46, 8
LANE, LIFE, PLOT, FOOT = 18, 16, 132, 20
LETTER_PX = 5.9
"""About how wide a letter of a label is."""

SLOTS = 150
"""Parts that the time is divided into: one mark per part and outcome keeps any run below a few hundred."""

OUTCOMES: Mapping[str, str] = {
    "answered": "answered",
    "refused": "refused (4xx)",
    "shed": "shed",
    "failed": "failed (5xx)",
    "lost": "without an answer",
}
SHAPES: Mapping[str, str] = {
    "answered": "h0",
    "refused": "m0-2.6l2.6 2.6-2.6 2.6-2.6-2.6z",
    "shed": "m-2.6-2.6h5.2v5.2h-5.2z",
    "failed": "m0-3.4l3.4 6h-6.8z",
    "lost": "m-2.8-2.8l5.6 5.6m0-5.6l-5.6 5.6",
}
"""How each outcome is drawn, so that no colour is needed to tell them apart."""


class Slot(Struct, frozen=True, kw_only=True):
    """The requests of one outcome within one part of the time; durations in milliseconds, None without any end."""

    outcome: str
    at_ms: float
    count: int
    fastest_ms: float | None
    median_ms: float | None
    slowest_ms: float | None


class Window(Struct, frozen=True, kw_only=True):
    """A fault, or something else that lasted: when it was asked for, `proven`, asked off, and gone; None where that is not known."""

    name: str
    on_ms: float | None
    proven_ms: float | None
    off_ms: float | None
    clean_ms: float | None
    proven: bool = True


class Life(Struct, frozen=True, kw_only=True):
    """One life of one process; `early` when it ended before the run was taken down."""

    process: str
    started_ms: float
    exited_ms: float
    early: bool


class Timeline(Struct, frozen=True, kw_only=True):
    """All that is drawn of one run, in milliseconds of the run."""

    began_ms: float
    ended_ms: float
    slots: Sequence[Slot]
    windows: Sequence[Window]
    lives: Sequence[Life] = ()
    windows_are: str = "faults"

    def count(self, outcome: str) -> int:
        """How many requests had this outcome."""
        return sum(slot.count for slot in self.slots if slot.outcome == outcome)


class _Lane(Struct, frozen=True):
    """A window with the row that it is drawn in, and where its name stands."""

    window: Window
    row: int
    text_px: float
    anchor: str


def draw(timeline: Timeline) -> Markup:
    """The picture. Windows on top, then processes that ended early, then every request by its duration."""
    time = Scale(low=timeline.began_ms, high=timeline.ended_ms, start_px=LEFT, end_px=WIDTH - RIGHT)
    lanes = list(_lanes(timeline.windows, time))
    lives_top = LANE * (1 + max((lane.row for lane in lanes), default=-1)) + 4
    names = list(dict.fromkeys(life.process for life in timeline.lives))
    top = lives_top + LIFE * len(names) + (4 if names else 0)
    bottom = top + PLOT
    elements = [
        *_windows(timeline.windows, time, top, bottom),
        *_lane_bars(lanes, time),
        *_lives(timeline.lives, names, time, lives_top),
        *_axes(time, bottom),
        *_requests(timeline.slots, time, top, bottom),
    ]
    return drawing.picture(WIDTH, bottom + FOOT, describe(timeline), elements)


def describe(timeline: Timeline) -> str:
    """The picture in words."""
    counts = [f"{n} {text}" for kind, text in OUTCOMES.items() if (n := timeline.count(kind))]
    windows = [
        f"{window.name} from {words.seconds(window.on_ms)} to {words.seconds(window.off_ms)}"
        for window in timeline.windows
    ]
    span = f"{words.seconds(timeline.began_ms)} to {words.seconds(timeline.ended_ms)}"
    parts = [f"Requests from {span}: {', '.join(counts) or 'none'}"]
    parts += [f"{timeline.windows_are}: {', '.join(windows)}"] if windows else []
    return "; ".join(parts)


def _times(window: Window, end_ms: float) -> tuple[float, float, float, float] | None:
    """When a window was asked for, proven, asked off and gone; what is not known ends with the picture."""
    if window.on_ms is None:
        return None
    off = window.off_ms if window.off_ms is not None else end_ms
    proven = window.proven_ms if window.proven_ms is not None else off
    clean = window.clean_ms if window.clean_ms is not None else max(off, end_ms)
    return window.on_ms, proven, off, clean


def _lanes(windows: Sequence[Window], time: Scale) -> Iterator[_Lane]:
    """Each window in the first row where neither its bar nor its name meets another."""
    free: list[float] = []
    for window in sorted(windows, key=lambda window: (window.on_ms or 0.0, window.name)):
        times = _times(window, time.high)
        if times is None:
            continue
        start, end = time.px(times[0]), time.px(times[3])
        width = LETTER_PX * len(_name(window)) + 10
        fits = end + width <= WIDTH
        left, right = (start, end + width) if fits else (start - width, end)
        row = next((row for row, taken in enumerate(free) if taken <= left), len(free))
        free[row : row + 1] = [right]
        yield _Lane(window, row, end + 5 if fits else start - 5, "start" if fits else "end")


def _name(window: Window) -> str:
    return window.name if window.proven else f"{window.name} (not proven)"


def _lane_bars(lanes: Sequence[_Lane], time: Scale) -> Iterator[svg.Element]:
    for lane in lanes:
        times = _times(lane.window, time.high)
        assert times is not None
        on, proven, off, clean = map(time.px, times)
        y = lane.row * LANE + 4
        yield drawing.box(on, y, clean - on, LANE - 8, "edge", 2)
        if lane.window.proven:
            yield drawing.box(proven, y, off - proven, LANE - 8, "proven", 2)
        yield drawing.text(lane.text_px, y + LANE - 9, _name(lane.window), "fault", lane.anchor)


def _windows(
    windows: Sequence[Window], time: Scale, top: float, bottom: float
) -> Iterator[svg.Element]:
    for window in windows:
        times = _times(window, time.high)
        if times is None:
            continue
        on, proven, off, clean = map(time.px, times)
        yield drawing.box(on, top, clean - on, bottom - top, "shade")
        if window.proven:
            yield drawing.box(proven, top, off - proven, bottom - top, "window")
            yield drawing.line(proven, top, proven, bottom, "window")
            yield drawing.line(off, top, off, bottom, "window")


def _lives(
    lives: Sequence[Life], names: Sequence[str], time: Scale, top: float
) -> Iterator[svg.Element]:
    for life in lives:
        y = top + LIFE * names.index(life.process)
        start, end = time.px(life.started_ms), time.px(life.exited_ms)
        yield drawing.box(start, y + 2, end - start, LIFE - 5, "life", 2)
        if life.early and life.exited_ms <= time.high:
            yield drawing.many([(end, y + LIFE / 2, SHAPES["lost"])], "lost")
    for row, name in enumerate(names):
        yield drawing.text(LEFT + 5, top + LIFE * row + LIFE - 5, name, "life")


def _axes(time: Scale, bottom: float) -> Iterator[svg.Element]:
    yield drawing.line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis")
    for tick in time.ticks(9):
        x = time.px(tick)
        yield drawing.line(x, bottom, x, bottom + 4, "axis")
        yield drawing.text(x, bottom + 16, words.seconds(tick), "tick", "middle")


def _requests(
    slots: Sequence[Slot], time: Scale, top: float, bottom: float
) -> Iterator[svg.Element]:
    known = [
        max(ms, 0.01)
        for slot in slots
        for ms in (slot.fastest_ms, slot.slowest_ms)
        if ms is not None
    ]
    if not slots:
        yield drawing.text((LEFT + WIDTH) / 2, (top + bottom) / 2, "no requests", "tick", "middle")
        return
    low, high = scale.decades(min(known), max(known)) if known else (1.0, 10.0)
    took = Scale(low=low, high=high, start_px=bottom - 6, end_px=top + 10, log=True)
    for tick in took.ticks(5):
        y = took.px(tick)
        yield drawing.line(LEFT, y, WIDTH - RIGHT, y, "grid")
        yield drawing.text(LEFT - 5, y + 3.5, words.milliseconds(tick), "tick", "end")
    for outcome, shape in SHAPES.items():
        own = [slot for slot in slots if slot.outcome == outcome]
        if not own:
            continue
        spans = list(_spans(own, time, took))
        if spans:
            yield drawing.many(spans, "span", outcome)
        marks = [(time.px(slot.at_ms), _height(slot, took, top), shape) for slot in own]
        yield drawing.many(marks, outcome)


def _spans(slots: Sequence[Slot], time: Scale, took: Scale) -> Iterator[tuple[float, float, str]]:
    """Lines from the fastest to the slowest request of a slot, where that can be seen."""
    for slot in slots:
        if slot.fastest_ms is None or slot.slowest_ms is None:
            continue
        low, high = took.px(slot.fastest_ms), took.px(slot.slowest_ms)
        if low - high >= 1:
            yield time.px(slot.at_ms), low, f"V{high:g}"


def _height(slot: Slot, took: Scale, top: float) -> float:
    """A mark stands at its median; what never ended stands at the top edge."""
    return took.px(slot.median_ms) if slot.median_ms is not None else top + 4
