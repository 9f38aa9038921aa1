"""Who gives way when there are too many connections."""

import resource

import pytest

from service.http.connections import Connections, open_more_files, room_for_callers


class Line:
    """A connection that remembers whether it was asked to give way."""

    def __init__(self) -> None:
        self.gone = False

    def give_way(self) -> None:
        self.gone = True


def joined(held: Connections, count: int, owner: str | None = None) -> list[Line]:
    """Let `count` connections join, and serve each once for `owner`."""
    lines = [Line() for _ in range(count)]
    for line in lines:
        held.join(line)
        if owner is not None:
            held.serve(line)
            held.rest(line, owner)
    return lines


def test_of_strangers_the_one_that_was_silent_longest_gives_way() -> None:
    held = Connections(3)
    strangers = joined(held, 3)
    held.serve(strangers[0])
    held.rest(strangers[0])
    newcomer = joined(held, 1)[0]
    assert [each.gone for each in [*strangers, newcomer]] == [False, True, False, False]
    assert len(held) == 3


def test_strangers_take_nothing_from_whoever_is_known() -> None:
    held = Connections(8)
    operator = joined(held, 2, "operator")
    strangers = joined(held, 400)
    assert not any(each.gone for each in operator)
    assert sum(not each.gone for each in strangers) == 6


def test_no_known_caller_takes_anothers() -> None:
    held = Connections(8)
    operator = joined(held, 1, "operator")
    observer = joined(held, 40, "observer")
    late = joined(held, 1, "second operator")
    assert not operator[0].gone
    assert not late[0].gone
    assert sum(not each.gone for each in observer) == 6


def test_whoever_fills_the_room_with_requests_loses_one_of_them() -> None:
    held = Connections(4)
    observer = joined(held, 4, "observer")
    for each in observer:
        held.serve(each)
    newcomer = joined(held, 1)[0]
    assert [each.gone for each in [*observer, newcomer]] == [True, False, False, False, False]


def test_a_newcomer_gives_way_where_all_are_served_and_nobody_has_most() -> None:
    held = Connections(4)
    for name in ("one", "two"):
        for each in joined(held, 2, name):
            held.serve(each)
    newcomer = joined(held, 1)[0]
    assert newcomer.gone


def test_whoever_left_is_forgotten() -> None:
    held = Connections(4)
    for each in joined(held, 3, "observer"):
        held.leave(each)
        held.leave(each)
        held.rest(each)
    assert len(held) == 0


@pytest.mark.parametrize(("limit", "room"), [(256, 128), (8, 8), (1 << 20, 4096), (-1, 4096)])
def test_callers_hold_half_of_what_may_be_open(
    monkeypatch: pytest.MonkeyPatch, limit: int, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert room_for_callers() == room


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [
        (1024, 1 << 20, 8192),
        (1024, 4096, 4096),
        (1024, -1, 8192),
        (9000, 1 << 20, None),
        (4096, 4096, None),
        (-1, -1, None),
    ],
)
def test_a_process_opens_as_many_files_as_full_room_takes(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, then: int | None
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    open_more_files()
    assert raised == ([] if then is None else [(then, hard)])
