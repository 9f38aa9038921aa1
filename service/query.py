"""Rows as Structs: the columns asked for are the Struct's fields, in their order.

A field of raw JSON is the text, or the bytes, that the database holds.
"""

from collections.abc import Iterator
from typing import TypeVar

import apsw
import msgspec

from service.errors import NotFound

S = TypeVar("S", bound=msgspec.Struct)
Bindings = tuple["apsw.SQLiteValue", ...]


def columns(into: type[msgspec.Struct]) -> str:
    """The column list for a SELECT that fills `into`."""
    return ", ".join(f'"{name}"' for name in into.__struct_fields__)


def each(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings = ()
) -> Iterator[S]:
    """Run `SELECT <fields of into> <rest>` and yield its rows.

    Raises msgspec.ValidationError for a row that `into` does not describe.
    """
    names = into.__struct_fields__
    raw = [name for name, hint in into.__annotations__.items() if hint is msgspec.Raw]
    for values in connection.execute(f"SELECT {columns(into)} {rest}", bindings):
        row: dict[str, object] = dict(zip(names, values, strict=True))
        for name in raw:
            if isinstance(value := row[name], str | bytes):
                row[name] = msgspec.Raw(value)
        yield msgspec.convert(row, into)


def select(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings = ()
) -> list[S]:
    """As `each`, all rows."""
    return list(each(connection, into, rest, bindings))


def select_one(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings = ()
) -> S | None:
    """As `each`, the first row or None."""
    return next(each(connection, into, rest, bindings), None)


def require_one(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings, what: str
) -> S:
    """As `each`, the first row. Raises NotFound, naming `what`, when there is none."""
    row = select_one(connection, into, rest, bindings)
    if row is None:
        raise NotFound(f"there is no {what}")
    return row
