"""Rows as Structs: the columns asked for are the Struct's fields, in their order.

A field of raw JSON is the text, or the bytes, that the database holds.
"""

import functools
from collections.abc import Iterator
from typing import TypeVar

import apsw
import msgspec

from service.errors import NotFound

S = TypeVar("S", bound=msgspec.Struct)
Bindings = tuple["apsw.SQLiteValue", ...]


@functools.cache
def columns(into: type[msgspec.Struct]) -> str:
    """The column list for a SELECT that fills `into`."""
    return ", ".join(f'"{name}"' for name in into.__struct_fields__)


@functools.cache
def _raw_fields(into: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(each.name for each in msgspec.structs.fields(into) if each.type is msgspec.Raw)


def each(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings = ()
) -> Iterator[S]:
    """Run `SELECT <fields of into> <rest>` and yield its rows.

    Raises msgspec.ValidationError for a row that `into` does not describe.
    """
    names, raw = into.__struct_fields__, _raw_fields(into)
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
    return next(iter(select(connection, into, rest, bindings)), None)


def require_one(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings, what: str
) -> S:
    """As `each`, the first row. Raises NotFound, naming `what`, when there is none."""
    row = select_one(connection, into, rest, bindings)
    if row is None:
        raise NotFound(f"there is no {what}")
    return row
