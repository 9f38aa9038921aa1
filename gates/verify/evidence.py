"""Whether evidence has exactly the columns and the sort of values that are declared, and which rows changed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import duckdb
from msgspec import Raw

from chaos.evidence import schema
from chaos.evidence.database import in_memory
from gates.judge import tables
from gates.judge.connection import open_release
from gates.release.manifest import Flaw
from gates.release.specs import read_specs
from gates.run.session import collected_of


def schema_flaws(
    directory: Path, folder: str, collected: Mapping[str, Mapping[str, str]]
) -> Iterator[Flaw]:
    """Every table that does not have its declared columns, or holds what none of its rows may."""
    declared = tables.declared(collected) | {"digests": schema.DIGESTS}
    with in_memory() as connection:
        for name, columns in declared.items():
            path = f"{folder}/{name}.parquet"
            for problem in _table_flaws(connection, directory / path, name, columns):
                yield Flaw(path=path, problem=problem)


def _table_flaws(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, columns: Mapping[str, str]
) -> Iterator[str]:
    if not path.is_file():
        yield f"the table {name} is missing"
        return
    source = f"read_parquet({tables.literal(str(path))})"
    try:
        found = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
        names = {str(row[0]): str(row[1]) for row in found}
        if list(names.items()) != list(columns.items()):
            yield f"its columns are {_listed(names)}, declared are {_listed(columns)}"
            return
        rules = list(_rules(name))
        # One look at the table for all of its rules: there are a dozen of each table.
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition, _ in rules)
        counted = connection.execute(f"SELECT {counts} FROM {source}").fetchone() or ()  # noqa: S608
        for count, (_, problem) in zip(counted, rules, strict=True):
            if count:
                yield f"{count} rows have {problem}"
    except duckdb.Error as error:
        yield f"it cannot be read: {error}"


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def _rules(table: str) -> Iterator[tuple[str, str]]:
    """(condition, what is wrong with rows that meet it) from the declared Struct of a table."""
    struct = schema.TABLES.get(table)
    if struct is None:
        yield "run_id IS NULL OR gate IS NULL", "no run or gate"
        return
    for column, hint in get_type_hints(struct).items():
        name = tables.quoted(column)
        # JSON may be null, which is no value in a table either.
        if type(None) not in get_args(hint) and hint is not Raw:
            yield f"{name} IS NULL", f"no {column}"
        if float in (hint, *get_args(hint)):
            yield f"NOT isfinite({name})", f"a {column} that is not finite"
        if get_origin(hint) is Literal:
            allowed = ", ".join(tables.literal(str(value)) for value in get_args(hint))
            yield f"{name} NOT IN ({allowed})", f"a {column} that there is not"


def altered_rows(directory: Path, path: Path) -> str:
    """In words: of which gates the rows of a changed table are not those that were sealed."""
    collected = collected_of(read_specs(directory).targets)
    evidence = open_release(directory / path.parent, collected)
    table = path.stem
    unread = [text for text in evidence.problems if text.startswith(f"the table {table} ")]
    if unread:
        return "; ".join(unread)
    if table == "digests":
        return "what it says of other tables is no longer so" if evidence.altered else _SAME
    begin = f"the table {table} "
    found = [
        f"{gate} (run {run_id}): {text.removeprefix(begin)}"
        for (run_id, gate), texts in sorted(evidence.altered.items())
        for text in texts
        if text.startswith(begin)
    ]
    return "; ".join(found) or _SAME


_SAME = "its rows are as they were sealed"
