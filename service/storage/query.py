"""Rows as Structs: the columns asked for are the Struct's fields, in their order."""

from typing import TypeVar

import apsw
import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def columns(into: type[msgspec.Struct]) -> str:
    """The column list for a SELECT that fills `into`."""
    return ", ".join(into.__struct_fields__)


def select(
    connection: apsw.Connection,
    into: type[S],
    rest: str,
    bindings: "tuple[apsw.SQLiteValue, ...]" = (),
) -> list[S]:
    """Run `SELECT <fields of into> <rest>` and return its rows.

    Raises msgspec.ValidationError for a row that `into` does not describe.
    """
    names = into.__struct_fields__
    found = connection.execute(f"SELECT {columns(into)} {rest}", bindings)
    return [
        msgspec.convert(dict(zip(names, values, strict=True)), into, strict=False)
        for values in found
    ]


def select_one(
    connection: apsw.Connection,
    into: type[S],
    rest: str,
    bindings: "tuple[apsw.SQLiteValue, ...]" = (),
) -> S | None:
    """As `select`, the first row or None."""
    return next(iter(select(connection, into, rest, bindings)), None)
