"""Lists in pages: `?limit` up to 200 rows, of a million characters together, and an opaque `cursor`, oldest first."""

from typing import Annotated, Final, Generic, TypeVar

import apsw
import msgspec
from litestar.params import QueryParameter

from service.errors import Invalid
from service.query import Bindings, numbered

MAX_LIMIT: Final = 200
MAX_PAGE_CHARS: Final = 1_000_000

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_LIMIT)]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", schema_extra={"pattern": "^[0-9]{1,18}$"})
]


View = TypeVar("View", bound=msgspec.Struct)


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
    into: type[View],
    source: str,
    limit: int,
    cursor: str | None,
    bindings: Bindings = (),
) -> Page[View]:
    """Read `limit` rows after `cursor` of `source`: a table or a query with a `seq`, in which `bindings` stand.

    Fewer when they are long: from the second row on, no more than MAX_PAGE_CHARS.
    """
    after, rest = read_cursor(cursor), f"FROM {source} WHERE seq > ? ORDER BY seq LIMIT ?"
    items: list[View] = []
    last, room = after, MAX_PAGE_CHARS
    for seq, size, row in numbered(connection, into, rest, (*bindings, after, limit + 1)):
        room -= size
        if items and (room < 0 or len(items) == limit):
            return Page(tuple(items), str(last))
        items.append(row)
        last = seq
    return Page(tuple(items), None)
