"""Whether evidence has exactly the columns and the sort of values that are declared, and which rows changed."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from msgspec import Raw

from chaos.evidence import schema
from gates.judge import tables
from gates.judge.connection import Evidence, open_release
from gates.release.manifest import Flaw
from gates.release.specs import read_specs
from gates.run.session import collected_of


def schema_flaws(evidence: Evidence, folder: str) -> Iterator[Flaw]:
    """Every table that could not be read as it is declared, or holds what none of its rows may."""
    for name in (*sorted(evidence.names), "digests"):
        path = f"{folder}/{name}.parquet"
        if name in evidence.unread:
            yield Flaw(path=path, problem=evidence.unread[name])
            continue
        if not evidence.row_counts[name]:
            continue
        rules = _rules(name)
        # One look at the table for all of its rules: there are a dozen of each table.
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition, _ in rules)
        counted = evidence.connection.execute(f"SELECT {counts} FROM {tables.stored(name)}")  # noqa: S608
        for count, (_, problem) in zip(counted.fetchone() or (), rules, strict=True):
            if count:
                yield Flaw(path=path, problem=f"{count} rows have {problem}")


@cache
def _rules(table: str) -> tuple[tuple[str, str], ...]:
    """(condition, what is wrong with rows that meet it) from the declared Struct of a table."""
    struct = schema.TABLES.get(table)
    if struct is None:
        return (("run_id IS NULL OR gate IS NULL", "no run or gate"),)
    rules = []
    for column, hint in get_type_hints(struct).items():
        name = tables.quoted(column)
        # JSON may be null, which is no value in a table either.
        if type(None) not in get_args(hint) and hint is not Raw:
            rules.append((f"{name} IS NULL", f"no {column}"))
        if float in (hint, *get_args(hint)):
            rules.append((f"NOT isfinite({name})", f"a {column} that is not finite"))
        if get_origin(hint) is Literal:
            allowed = ", ".join(tables.literal(str(value)) for value in get_args(hint))
            rules.append((f"{name} NOT IN ({allowed})", f"a {column} that there is not"))
    return tuple(rules)


class AlteredRows:
    """Of which gates the rows of changed tables are not those that were sealed. A folder is opened once for all of its tables."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: dict[Path, Evidence] = {}

    def told(self, path: Path) -> str:
        """In words, of one table."""
        evidence = self._evidence(path.parent)
        table = path.stem
        if table in evidence.unread:
            return evidence.unread[table]
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

    def _evidence(self, folder: Path) -> Evidence:
        if folder not in self._opened:
            collected = collected_of(read_specs(self._directory).targets)
            self._opened[folder] = open_release(self._directory / folder, collected)
        return self._opened[folder]


_SAME = "its rows are as they were sealed"
