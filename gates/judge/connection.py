"""Opens evidence for judging: typed tables in memory, and no way out of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec
from msgspec import Raw, Struct

from chaos.evidence import schema
from gates.judge import tables
from gates.judge.wording import plain

R = TypeVar("R", bound=schema.Row)
RunKey = tuple[str, str]
"""(run_id, gate)."""

MEMORY_LIMIT = "2GB"

OPTIMIZERS = (
    "build_side_probe_side",
    "cte_inlining",
    "deliminator",
    "expression_rewriter",
    "filter_pullup",
    "filter_pushdown",
    "in_clause",
    "join_order",
    "top_n",
    "unnest_rewriter",
    "unused_columns",
)
"""Those that keep many rows from being joined or copied for nothing. The others cost more than evidence is worth them."""


class RunRecord(Struct, frozen=True):
    """A run as sealed: how it began, and how it ended if it did."""

    run: schema.RunRow
    end: schema.RunEnd | None

    @property
    def key(self) -> RunKey:
        """What names the run in every table."""
        return self.run.run_id, self.run.gate


class Evidence:
    """The evidence of a release, or of one run that has just ended.

    `names` are its tables, `unread` those that could not be read, and why. `shipped` says that it comes from
    Parquet, so that every table must agree with its digest; `row_counts` is of the tables that were read from there.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, names: Iterable[str], *, shipped: bool
    ) -> None:
        self.connection = connection
        self.names = frozenset(names)
        self.shipped = shipped
        self.unread: dict[str, str] = {}
        self.row_counts: dict[str, int] = {}
        self.altered: dict[RunKey, list[str]] = {}
        self._runs: dict[str, list[RunRecord]] | None = None
        self._rows: dict[str, dict[RunKey, list[schema.Row]]] = {}
        self._answers: dict[str, dict[RunKey, list[tuple[object, ...]]]] = {}

    def refresh(self) -> None:
        """Forget what was read, after other rows were loaded into the same connection."""
        self._rows.clear()
        self._answers.clear()
        self._runs = None

    def beside(self) -> "Evidence":
        """The same for another thread, which must not share a connection."""
        own = Evidence(self.connection.cursor(), self.names, shipped=self.shipped)
        own.unread, own.row_counts, own.altered = self.unread, self.row_counts, self.altered
        return own

    def has(self, table: str) -> bool:
        """Whether a table of evidence is there and could be read."""
        return table in self.names and table not in self.unread

    @property
    def problems(self) -> list[str]:
        """What is wrong with all of it, whichever gate is asked about."""
        return list(self.unread.values())

    def look(self, table: str, columns: Sequence[str], key: RunKey) -> str:
        """SQL for some columns of one run's rows, for looking at them once."""
        where = f"run_id = {tables.literal(key[0])} AND gate = {tables.literal(key[1])}"
        names = ", ".join(map(tables.quoted, columns))
        return f"SELECT {names} FROM {tables.stored(table)} WHERE {where}"

    def rows(self, kind: type[R], key: RunKey) -> list[R]:
        """The rows of a small table that belong to one run, in order of `seq`."""
        name = _TABLE_OF[kind]
        if name not in self._rows:
            self._rows[name] = _grouped(self._read(name, kind))
        return [row for row in self._rows[name].get(key, []) if isinstance(row, kind)]

    def _read(self, table: str, kind: type[schema.Row]) -> list[schema.Row]:
        columns = schema.raw_columns(table)
        names = ", ".join(tables.quoted(column) for column in columns)
        found = self.connection.execute(
            f"SELECT {names} FROM {tables.stored(table)} ORDER BY seq"
        ).fetchall()
        raw = {column for column, type_name in columns.items() if type_name == "JSON"}
        return [_typed(kind, dict(zip(columns, row, strict=True)), raw) for row in found]

    def grouped(self, name: str, sql: str) -> Mapping[RunKey, list[tuple[object, ...]]]:
        """The answer to one query for all runs, without the run_id and gate that it begins with."""
        if name not in self._answers:
            found: dict[RunKey, list[tuple[object, ...]]] = defaultdict(list)
            for run_id, gate, *rest in self.connection.execute(sql).fetchall():
                found[str(run_id), str(gate)].append(tuple(rest))
            self._answers[name] = found
        return self._answers[name]

    def runs(self) -> list[RunRecord]:
        """All runs, in order of gate and run."""
        return [record for records in self._by_gate().values() for record in records]

    def runs_of(self, gate: str) -> list[RunRecord]:
        """The runs of one gate, in order of their ids."""
        return self._by_gate().get(gate, [])

    def _by_gate(self) -> Mapping[str, list[RunRecord]]:
        if self._runs is None:
            columns = schema.sealed_columns("runs")
            names = ", ".join(tables.quoted(column) for column in columns)
            found = self.connection.execute(
                f"SELECT {names} FROM {tables.stored('runs')} ORDER BY gate, run_id"
            ).fetchall()
            self._runs = {}
            for row in found:
                record = _run(dict(zip(columns, row, strict=True)))
                self._runs.setdefault(record.run.gate, []).append(record)
        return self._runs


_TABLE_OF: Mapping[type[schema.Row], str] = {struct: name for name, struct in schema.TABLES.items()}


def _typed(kind: type[schema.Row], values: dict[str, object], raw: set[str]) -> schema.Row:
    for column in raw:
        text = values[column]
        values[column] = Raw(str(text).encode() if text is not None else b"null")
    return kind(**values)  # type: ignore[arg-type]  # the columns are those of the Struct, by declaration


def _grouped(rows: Sequence[schema.Row]) -> dict[RunKey, list[schema.Row]]:
    groups: dict[RunKey, list[schema.Row]] = defaultdict(list)
    for row in rows:
        groups[row.run_id, row.gate].append(row)
    return groups


def _run(values: dict[str, object]) -> RunRecord:
    begun = {column: values[column] for column in schema.raw_columns("runs")}
    ended = {column: values[column] for column in schema.raw_columns("run_ends")}
    run = _typed(schema.RunRow, begun, {"digests", "versions", "config"})
    end = _typed(schema.RunEnd, ended, set()) if values["end_state"] is not None else None
    assert isinstance(run, schema.RunRow)
    assert end is None or isinstance(end, schema.RunEnd)
    return RunRecord(run, end)


def connected(threads: int, memory: str, **settings: str) -> duckdb.DuckDBPyConnection:
    """A database in memory whose answers depend on nothing around it; `settings` are others of DuckDB's. duckdb.Error for a bad one."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": memory,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "errors_as_json": "true",
            **settings,
        },
    )
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def _connect() -> duckdb.DuckDBPyConnection:
    """A database for evidence."""
    connection = connected(1, MEMORY_LIMIT)
    found = connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()
    disabled = ",".join(name for (name,) in found if name not in OPTIMIZERS)
    connection.execute(f"SET GLOBAL disabled_optimizers = {tables.literal(disabled)}")
    connection.execute(f"CREATE SCHEMA {tables.SCHEMA}")
    return connection


def lock(
    connection: duckdb.DuckDBPyConnection, directories: Iterable[Path], files: Iterable[Path] = ()
) -> None:
    """No files but these and those below `directories`, and no way to change that. The order matters: the last cannot be undone."""
    for setting, paths in (("allowed_paths", files), ("allowed_directories", directories)):
        allowed = ", ".join(tables.literal(str(path.resolve())) for path in paths)
        connection.execute(f"SET {setting} = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def open_blank(
    collected: Mapping[str, Mapping[str, str]], directories: Sequence[Path] = ()
) -> Evidence:
    """Empty typed tables: enough to check SQL, or to load single runs from below `directories`."""
    connection = _connect()
    for name, columns in tables.declared(collected).items():
        connection.execute(tables.create_sql(tables.stored(name), columns))
    lock(connection, directories)
    return Evidence(connection, tables.declared(collected), shipped=False)


def open_release(directory: Path, collected: Mapping[str, Mapping[str, str]]) -> Evidence:
    """The tables of a release directory, one Parquet file each, read once with their declared columns.

    A table that is missing or unreadable, or does not have its columns, is noted and stays empty; a table
    whose digests are not those it was sealed with is noted per run.
    """
    declared = tables.declared(collected)
    evidence = Evidence(_connect(), declared, shipped=True)
    _load(evidence, directory, declared | {"digests": schema.DIGESTS})
    _compare_digests(evidence, [name for name in declared if evidence.row_counts.get(name)])
    lock(evidence.connection, ())
    return evidence


def _load(evidence: Evidence, directory: Path, declared: Mapping[str, Mapping[str, str]]) -> None:
    """Make the tables as they are in their files, and empty ones for those that are not as declared."""
    connection = evidence.connection
    for name in declared:
        path = directory / f"{name}.parquet"
        if not path.is_file():
            evidence.unread[name] = f"the table {name} is missing: there is no {path.name}"
            continue
        try:
            # Nothing is cast: what has become of another type is not what was sealed.
            made = connection.execute(
                f"CREATE TABLE {tables.stored(name)} AS SELECT * FROM {tables.parquet(path)}"
            ).fetchone()
        except duckdb.Error as error:
            evidence.unread[name] = f"the table {name} cannot be read: {message_of(error)}"
        else:
            assert made is not None
            evidence.row_counts[name] = int(made[0])
    found = _made_in(connection)
    for name, columns in declared.items():
        if name in found and list(found[name].items()) != list(columns.items()):
            evidence.unread[name] = (
                f"the table {name} cannot be read: its columns are not as declared: {_differing(found[name], columns)}"
            )
        if name in evidence.unread:
            evidence.row_counts.pop(name, None)
            connection.execute(f"DROP TABLE IF EXISTS {tables.stored(name)}")
            connection.execute(tables.create_sql(tables.stored(name), columns))


def _made_in(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The tables of evidence that there are, each with its columns in order and their types."""
    found = connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        f" WHERE schema_name = {tables.literal(tables.SCHEMA)} ORDER BY table_name, column_index"
    ).fetchall()
    made: dict[str, dict[str, str]] = {}
    for table, column, kind in found:
        made.setdefault(table, {})[column] = kind
    return made


def _differing(found: Mapping[str, str], declared: Mapping[str, str]) -> str:
    """In what the columns of a table are others, in a few words."""
    other = [
        f"{name} is {found.get(name, 'missing')}, declared {declared.get(name, 'nowhere')}"
        for name in {**declared, **found}
        if found.get(name) != declared.get(name)
    ]
    return ", ".join(other) or "they are in another order"


def _compare_digests(evidence: Evidence, names: Sequence[str]) -> None:
    read = evidence.connection.execute(
        f"SELECT run_id, gate, sealed_table, row_count, digest FROM {tables.stored('digests')}"
    ).fetchall()
    sealed = {
        (str(run), str(gate), str(table)): (count, digest)
        for run, gate, table, count, digest in read
    }
    found: dict[tuple[str, str, str], tuple[object, object]] = {}
    for name in names:
        for run, gate, count, digest in evidence.connection.execute(
            tables.digest_sql(name)
        ).fetchall():
            found[str(run), str(gate), name] = (count, digest)
    for key in sorted(sealed.keys() | found.keys()):
        if sealed.get(key) != found.get(key):
            run, gate, table = key
            evidence.altered.setdefault((run, gate), []).append(
                f"the table {table} is not what was sealed: {_rows_text(found.get(key))} now,"
                f" {_rows_text(sealed.get(key))} then"
            )


def _rows_text(sealed: tuple[object, object] | None) -> str:
    return "no rows" if sealed is None else f"{sealed[0]} rows ({str(sealed[1])[:12]}…)"


class _DuckError(Struct, frozen=True):
    exception_message: str = ""
    position: str | None = None


def message_of(error: duckdb.Error) -> str:
    """What DuckDB says, in our words."""
    return details_of(error)[0]


def details_of(error: duckdb.Error) -> tuple[str, int | None]:
    """Message of an error and the place in the SQL that it is about, in bytes, when there is one."""
    text = str(error)
    start = text.find("{")
    try:
        decoded = msgspec.json.decode(text[start:] if start >= 0 else "", type=_DuckError)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return plain(text), None
    position = int(decoded.position) if decoded.position else None
    return plain(decoded.exception_message or text), position
