"""Streams of events, however their bytes arrive."""

import pytest

from chaos.answers import MAX_BODY_BYTES
from chaos.events import Event, EventReader

STREAM = (
    b"\xef\xbb\xbf: hello\r\n\r\nevent: tick\rid: 7\rdata: a\rdata:b\r\rdata\n\n"
    b"retry: 5\nunknown: x\n\ndata: \xc3\xa9\n\ndata: never ended\n"
)
EVENTS = [
    Event(data=b"hello", name="", comment=True),
    Event(data=b"a\nb", name="tick", id="7"),
    Event(data=b"", id="7"),
    Event(data="é".encode(), id="7"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, len(STREAM)])
def test_pieces_make_no_difference(size: int) -> None:
    reader = EventReader()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS


def test_what_is_too_long_is_cut_and_said() -> None:
    reader = EventReader()
    line = b"data: " + b"x" * (MAX_BODY_BYTES - 1) + b"\n"
    (event,) = reader.feed(line + b"data: yz\n\n")
    assert (len(event.data), event.more_bytes) == (MAX_BODY_BYTES, 2)
    assert reader.feed(b"data: " + b"x" * MAX_BODY_BYTES) == []
    for _ in range(5):
        assert reader.feed(b"x" * MAX_BODY_BYTES) == []
    (long,) = reader.feed(b"\n\n")
    assert len(long.data) == MAX_BODY_BYTES
    assert long.more_bytes == 5 * MAX_BODY_BYTES
