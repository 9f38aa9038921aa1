"""Rows as Structs: the columns asked for are the Struct's fields, in their order.

A field of raw JSON is the text, or the bytes, that the database holds.
"""

import functools
from collections.abc import Iterator, Sequence
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
    for values in connection.execute(f"SELECT {columns(into)} {rest}", bindings):
        yield _struct(into, values)


def numbered(
    connection: apsw.Connection, into: type[S], rest: str, bindings: Bindings = ()
) -> Iterator[tuple[int, int, S]]:
    """As `each`, of something with a `seq`: (its `seq`, about how many characters the row has, the row)."""
    for seq, *values in connection.execute(f"SELECT seq, {columns(into)} {rest}", bindings):
        assert isinstance(seq, int)
        size = sum(len(each) for each in values if isinstance(each, str | bytes))
        yield seq, size, _struct(into, values)


def _struct(into: type[S], values: "Sequence[apsw.SQLiteValue]") -> S:
    row: dict[str, object] = dict(zip(into.__struct_fields__, values, strict=True))
    for name in _raw_fields(into):
        if isinstance(value := row[name], str | bytes):
            row[name] = msgspec.Raw(value)
    return msgspec.convert(row, into)


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
