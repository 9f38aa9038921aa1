"""Lists in pages: `?limit` up to 200 and an opaque `cursor`, oldest first."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar

import apsw
import msgspec
from litestar.params import QueryParameter

from service.errors import Invalid
from service.storage.query import select

MAX_LIMIT: Final = 200

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, QueryParameter(name="cursor")]


class Numbered(msgspec.Struct, frozen=True):
    """A row that knows its place in its table."""

    seq: int


Row = TypeVar("Row", bound=Numbered)
View = TypeVar("View")


class Page(msgspec.Struct, Generic[View], frozen=True):
    """One page. `next_cursor` fetches the next one; null on the last."""

    items: tuple[View, ...]
    next_cursor: str | None


def read_cursor(cursor: str | None) -> int:
    """Return the sequence number after which a page starts. Raises Invalid."""
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Invalid("the cursor is not one that was given out")
    return int(cursor)


def read_page(
    connection: apsw.Connection,
    row: type[Row],
    table: str,
    view: Callable[[Row], View],
    limit: int,
    cursor: str | None,
) -> Page[View]:
    """Read `limit` rows of `table` after `cursor`."""
    rows: Sequence[Row] = select(
        connection,
        row,
        f"FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?",
        (read_cursor(cursor), limit + 1),
    )
    shown = rows[:limit]
    following = str(shown[-1].seq) if len(rows) > limit else None
    return Page(tuple(view(each) for each in shown), following)
