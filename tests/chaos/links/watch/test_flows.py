"""What moves on open connections, by the kernel's counts."""

import struct

import pytest

from chaos.links.watch.flows import Flow, Follower, Following, Moved, Socket, counts_in
from chaos.sock_diag import told_in

PORT = 7000
ONE, OTHER = Socket("127.0.0.1:5", PORT, b"1"), Socket("127.0.0.1:6", PORT, b"2")
ELSEWHERE = Socket("127.0.0.1:7", 7001, b"3")


def moved(sent: int, received: int = 0, *, is_open: bool = True) -> Moved:
    return Moved(sent, received, is_open)


def test_a_connection_is_followed_from_its_first_look_to_its_last() -> None:
    following = Following(PORT, {ONE: moved(5), ELSEWHERE: moved(1)}, 1.0, 1.1)
    following.look({ONE: moved(7, 2), ELSEWHERE: moved(2)}, {}, 2.0)
    assert following.flows == {ONE: Flow(1.0, moved(5), 2.0, moved(7, 2))}


def test_all_that_a_later_connection_moved_counts() -> None:
    following = Following(PORT, {}, 1.0, 1.1)
    following.look({ONE: moved(7)}, {}, 2.0)
    assert following.flows == {ONE: Flow(2.0, moved(0), 2.0, moved(7))}


def test_a_connection_that_has_gone_is_known_by_what_the_kernel_said_last() -> None:
    following = Following(PORT, {ONE: moved(5), OTHER: moved(3)}, 1.0, 1.1)
    gone = {ONE: moved(9, is_open=False), ELSEWHERE: moved(1, is_open=False)}
    following.look({}, gone, 2.0)
    assert following.flows == {
        ONE: Flow(1.0, moved(5), 2.0, moved(9, is_open=False)),
        # Nothing was said of this one; it is not there any more.
        OTHER: Flow(1.0, moved(3), 2.0, moved(3, is_open=False)),
    }
    following.look({}, {OTHER: moved(4, is_open=False)}, 3.0)
    assert following.flows[OTHER] == Flow(1.0, moved(3), 3.0, moved(4, is_open=False))
    assert following.flows[ONE].to_s == 2.0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"torn",
        struct.pack("=IHHII", 0, 20, 0, 0, 0),
        struct.pack("=IHHII", 20, 20, 0, 0, 0) + b"none",
        struct.pack("=IHHII", 16 + 72 + 4, 20, 0, 0, 0) + b"\0" * 72 + struct.pack("=HH", 0, 2),
    ],
)
def test_messages_that_tell_nothing(data: bytes) -> None:
    assert list(counts_in(told_in(data), frozenset({0, PORT}))) == []


def test_an_answer_has_an_end_and_an_error_is_one() -> None:
    assert list(told_in(struct.pack("=IHHII", 16, 3, 0, 0, 0))) == [None]
    with pytest.raises(OSError, match="does not tell"):
        list(told_in(struct.pack("=IHHII", 16, 2, 0, 0, 0)))


def test_nothing_is_known_of_what_is_not_followed() -> None:
    follower = Follower(0.0, {"a->b": PORT})
    follower.look()
    assert follower.flows("1", over=True) is None
    follower.follow("1", "a->b")
    assert follower.flows("1", over=False) == []
    assert follower.flows("1", over=True) == []
    assert follower.flows("1", over=True) is None
