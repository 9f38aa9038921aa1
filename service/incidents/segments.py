"""Segments: what happened, as JSON lines in files of bounded size and number, the oldest of which give way.

Lines are kept in memory until the timer's next round and written in one go, so that no request waits for the disk; a kill
loses those of the last round, and may leave a last line without its end, which readers leave out. Each life of the gateway
begins a file of its own, and so does a writer whose disk failed.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from service.incidents.records import OMITTED, TraceLine, line_of
from service.reliability.tracing import Event, Trace
from service.settings import TraceSettings
from service.timers import Timer

T = TypeVar("T")
MOST_WAITING_BYTES: Final = 8 << 20
"""What comes when this much waits for the disk is counted and lost: a full disk takes no memory."""
MOST_LINE_BYTES: Final = 1 << 18
_encode = msgspec.json.Encoder().encode


class Segments:
    """The files of one kind of line below `directory`. `add` and `take` belong to the event loop, `write` to any thread."""

    def __init__(self, directory: Path, segment_bytes: int, segments: int) -> None:
        self.lost = 0
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments = segments
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._file: int | None = None
        self._written = 0

    def add(self, line: bytes) -> None:
        """Keep a line until the next `write`."""
        if self._waiting_bytes + len(line) > MOST_WAITING_BYTES:
            self.lost += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line) + 1

    def take(self) -> list[bytes]:
        """Give what waits away, to be written."""
        waiting, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        return waiting

    def write(self, lines: list[bytes]) -> None:
        """Write lines. Raises OSError; then they are lost, and the next go into a new file."""
        if not lines:
            return
        with self._lock:
            try:
                self._append(b"\n".join(lines) + b"\n")
            except OSError:
                self.lost += len(lines)
                self._close()
                raise

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, block: bytes) -> None:
        if self._file is None or self._written >= self._segment_bytes:
            self._close()
            self._file = self._open_next()
            self._written = 0
        while block:
            count = os.write(self._file, block)
            self._written += count
            block = block[count:]

    def _open_next(self) -> int:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        there = files_of(self._directory)
        for oldest in there[: max(0, len(there) - self._segments + 1)]:
            oldest.unlink(missing_ok=True)
        number = int(there[-1].stem) + 1 if there else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._directory / f"{number:08}.jsonl", flags, 0o600)


class TraceWriter:
    """Writes finished traces and events to their segments, every `flush_every_s`. `timer` is started by whoever starts timers."""

    def __init__(self, traces: Path, events: Path, settings: TraceSettings) -> None:
        self._traces = Segments(traces, settings.segment_bytes, settings.segments)
        self._events = Segments(events, settings.segment_bytes, settings.segments)
        self.timer = Timer("traces", settings.flush_every_s, self.flush)

    @property
    def lost(self) -> int:
        """How many lines were lost because the disk did not take them."""
        return self._traces.lost + self._events.lost

    def finished(self, trace: Trace) -> None:
        """Take down a finished trace."""
        self._traces.add(_line(trace))

    def happened(self, event: Event) -> None:
        """Take down an event."""
        self._events.add(_encode(event))

    async def flush(self) -> None:
        """Write what was taken down. Raises OSError."""
        both = [(each, each.take()) for each in (self._traces, self._events)]
        for segments, lines in both:
            await asyncio.to_thread(segments.write, lines)


def _line(trace: Trace) -> bytes:
    """A trace as JSON; of one that is too long what was asked and read is left out, and said."""
    row = line_of(trace)
    line = _encode(row)
    if len(line) <= MOST_LINE_BYTES:
        return line
    bare = [msgspec.structs.replace(each, inputs=[]) for each in trace.stages]
    short = msgspec.structs.replace(row, envelope={OMITTED: len(line)}, decisions=bare)
    return _encode(short)


def files_of(directory: Path) -> list[Path]:
    """The segments below `directory`, the oldest first."""
    return sorted(each for each in directory.glob("*.jsonl") if each.stem.isdigit())


def lines_of(directory: Path, from_ms: float) -> Iterator[bytes]:
    """The whole lines of the segments below `directory` that were written to after `from_ms`, the oldest first."""
    for each in files_of(directory):
        try:
            if each.stat().st_mtime * 1000 < from_ms:
                continue
            with each.open("rb") as file:
                yield from (line for line in file if line.endswith(b"\n"))
        except FileNotFoundError:
            continue  # it gave way meanwhile


_traces: Final = msgspec.json.Decoder(TraceLine)
_events: Final = msgspec.json.Decoder(Event)


def traces_between(directory: Path, from_ms: float, to_ms: float) -> Iterator[TraceLine]:
    """The traces of requests that began in [from_ms, to_ms)."""
    for trace in _decoded(directory, from_ms, _traces):
        if from_ms <= trace.began_ms < to_ms:
            yield trace


def events_between(directory: Path, from_ms: float, to_ms: float) -> Iterator[Event]:
    """The events in [from_ms, to_ms)."""
    for event in _decoded(directory, from_ms, _events):
        if from_ms <= event.at_ms < to_ms:
            yield event


def _decoded(directory: Path, from_ms: float, decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    """What is in the lines written after `from_ms`; what is no such line is left out."""
    for line in lines_of(directory, from_ms):
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError:
            continue
