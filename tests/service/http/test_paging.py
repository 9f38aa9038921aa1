"""Lists in pages: where each begins, and what is no place to begin."""

import apsw
import msgspec
import pytest

from service.errors import Invalid
from service.http.paging import MAX_PAGE_CHARS, read_cursor, read_page


class Thing(msgspec.Struct):
    seq: int


@pytest.mark.parametrize(("cursor", "seq"), [(None, 0), ("0", 0), ("7", 7), ("9" * 18, 10**18 - 1)])
def test_a_cursor_is_where_the_last_page_ended(cursor: str | None, seq: int) -> None:
    assert read_cursor(cursor) == seq


@pytest.mark.parametrize("cursor", ["", "-1", "x", "1.0", " 1", "²", "9" * 19])
def test_what_was_never_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        read_cursor(cursor)


@pytest.mark.parametrize(
    ("rows", "pages"),
    [(0, [[]]), (1, [[1]]), (4, [[1, 2], [3, 4]]), (5, [[1, 2], [3, 4], [5]])],
)
def test_pages_follow_one_another_until_nothing_is_left(rows: int, pages: list[list[int]]) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE things (seq INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO things VALUES (?)", [(n + 1,) for n in range(rows)])
    found, cursor = [], None
    while not found or cursor is not None:
        page = read_page(connection, Thing, "things", 2, cursor)
        found.append([each.seq for each in page.items])
        cursor = page.next_cursor
    assert found == pages


class Long(msgspec.Struct):
    text: str


def test_pages_are_bounded_by_what_they_hold_as_well() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE things (seq INTEGER PRIMARY KEY, text TEXT)")
    sizes = [400_000, 400_000, 400_000, MAX_PAGE_CHARS + 1, 1, MAX_PAGE_CHARS - 1, 1]
    connection.executemany("INSERT INTO things (text) VALUES (?)", [("x" * n,) for n in sizes])
    found, cursor = [], None
    while not found or cursor is not None:
        page = read_page(connection, Long, "things", 200, cursor)
        found.append([len(each.text) for each in page.items])
        cursor = page.next_cursor
    assert found == [
        [400_000, 400_000],
        [400_000],
        [MAX_PAGE_CHARS + 1],
        [1, MAX_PAGE_CHARS - 1],
        [1],
    ]
