"""Server-sent events: an answer that goes on, read event by event (WHATWG HTML, section 9.2)."""

import re
from typing import Final

from msgspec import Struct

from chaos.answers import MAX_BODY_BYTES
from chaos.http import AnswerReader

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class Event(Struct, frozen=True, kw_only=True):
    """One event, or one comment, which is how servers keep a connection alive. `more_bytes` of its data were not kept."""

    data: bytes
    name: str = "message"
    id: str | None = None
    comment: bool = False
    more_bytes: int = 0


class EventReader:
    """Takes a stream apart, whatever pieces it arrives in. An event that no empty line ends is none."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._after_cr = False
        self._data: list[bytes] | None = None
        self._size = 0
        self._more = 0
        self._name = ""
        self._id: str | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes."""
        if self._after_cr and data:
            # The other half of a line's end that came in two pieces.
            data = data.removeprefix(b"\n")
            self._after_cr = False
        text = self._rest + data
        if not self._begun:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            text, self._begun = text.removeprefix(_BOM), True
        *lines, self._rest = _LINE_END.split(text)
        self._after_cr = self._after_cr or data.endswith(b"\r")
        self._bound()
        found = map(self._line, lines)
        return [event for event in found if event is not None]

    def _bound(self) -> None:
        """A line without an end is not kept without an end either."""
        beyond = len(self._rest) - MAX_BODY_BYTES - 100
        if beyond > 0:
            self._more += beyond
            self._rest = self._rest[:-beyond]

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatched()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            return Event(data=value[:MAX_BODY_BYTES], name="", comment=True)
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        return None

    def _add(self, value: bytes) -> None:
        if self._data is None:
            self._data = []
        kept = value[: max(0, MAX_BODY_BYTES - self._size)]
        if self._size <= MAX_BODY_BYTES:
            self._data.append(kept)
        self._size += len(kept) + 1
        self._more += len(value) - len(kept)

    def _dispatched(self) -> Event | None:
        event = None
        if self._data is not None:
            event = Event(
                data=b"\n".join(self._data),
                name=self._name or "message",
                id=self._id,
                more_bytes=self._more,
            )
        self._data, self._size, self._more, self._name = None, 0, 0, ""
        return event


class EventsAnswer(AnswerReader):
    """The answer that a stream of events is: once its head is there, the body comes out as events."""

    def __init__(self) -> None:
        super().__init__(head=False)
        self._events = EventReader()
        self._found: list[Event] = []

    @property
    def is_events(self) -> bool:
        """Whether the head says that events follow."""
        kind = self.field("content-type").partition(";")[0].strip().lower()
        return self.begun and self.status == 200 and kind == "text/event-stream"

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self.is_events:
            self._found += self._events.feed(body)
        else:
            super().on_body(body)

    def take(self) -> list[Event]:
        """The events since the last time."""
        found, self._found = self._found, []
        return found
