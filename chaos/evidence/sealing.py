"""Turns the JSON lines of runs into typed tables: one Parquet file per table of a release.

A run's directory is named after its gate and holds `<table>.jsonl` and `<table>.*.jsonl`, and last of all
`closings.jsonl`. What is found is compared with what was closed; whatever differs is kept in the table
`seals`, which makes the run UNKNOWN but loses nothing that was recorded. The same SQL fills the tables of
a release and those of one run that has just ended.
"""

# ruff: noqa: S608 - names and texts are quoted by `sealing_sql`

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb
import msgspec
from msgspec import Raw, Struct

from chaos import regular
from chaos.errors import UNREADABLE, told
from chaos.evidence import schema
from chaos.evidence import sealing_sql as sql
from chaos.evidence.database import in_memory

Collected = Mapping[str, Mapping[str, str]]
"""Declared columns of the tables that targets collect, by table."""

SMALL_BYTES = 1024 * 1024
MOST_BYTES = 8 * 1024 * 1024
"""What is smaller is passed as text, up to so much for a table: to open a file costs as much as a thousand lines."""

_LONG_NUMBER = re.compile(rb"[:,\[]\s*-?[0-9]{19}")
"""It may be more than a column can hold, which is found out where files are read."""

_CLOSE_FRAMED = b'"close_framed":true'

CLOSINGS = "closings.jsonl"
CLOSED_TWICE = -1
_COLLECTED_HINTS: Mapping[str, object] = {
    "VARCHAR": str | None,
    "BIGINT": int | None,
    "DOUBLE": float | None,
    "BOOLEAN": bool | int | None,
    "JSON": Raw,
}


class Rows(Struct):
    """One file of a run: where it is, what is in it, and in what it differs from what was closed.

    `data` is what was read, of a small file whose every line is a row; `meets` tells of what requests met, or of an
    answer that it matters for.
    """

    path: Path
    table: str
    run_id: str
    gate: str
    lines: int
    sha256: str
    seqs: list[int]
    problems: list[str]
    damaged: bool = False
    data: bytes = b""
    meets: bool = False

    @property
    def problem(self) -> str | None:
        """All problems in one text."""
        return "; ".join(self.problems) or None


class Sealed(Struct, frozen=True):
    """What was loaded: rows per table, and (gate, file, problem) of every file that is not as it was closed."""

    row_counts: dict[str, int]
    problems: list[tuple[str, str, str]]


def _tables(collected: Collected) -> dict[str, Mapping[str, str]]:
    sealed: dict[str, Mapping[str, str]] = {
        n: schema.sealed_columns(n) for n in schema.sealed_tables()
    }
    sealed |= {name: schema.collected_columns(columns) for name, columns in collected.items()}
    return sealed | {"seals": schema.SEALS}


class Loader:
    """Fills the tables of one connection, again and again: first `create`, then `load` for any runs.

    `tables` are all of them but the digests, with the columns they are sealed with.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, collected: Collected) -> None:
        for name, columns in collected.items():
            unknown = set(columns.values()) - set(schema.COLLECTED_TYPES)
            if name in schema.TABLES or unknown:
                raise ValueError(
                    f"cannot collect {name}: the name is taken or a type unknown {sorted(unknown)}"
                )
        self.connection = connection
        self.collected = collected
        self.tables = _tables(collected)
        self._columns = {name: self._raw_columns(name) for name in [*schema.TABLES, *collected]}
        self._columns["seals"] = dict(schema.SEALS)
        self._filled: list[str] = []
        self._prepared: set[str] = set()
        self._decoders: dict[str, msgspec.json.Decoder[schema.Row]] = {}

    def create(self) -> None:
        """Make the empty tables."""
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.SCHEMA}")
        for name, columns in self.tables.items():
            self.connection.execute(sql.create(name, columns))

    def load(self, directories: Sequence[Path]) -> Sealed:
        """Replace what the tables hold by the evidence in these directories, one per run."""
        before, self._filled = self._filled, []
        files = [file for directory in directories for file in self.read(directory)]
        counts = {name: self._fill(name, files) for name in self._order()}
        self._seal(files)
        for name in set(before) - set(self._filled):
            self.connection.execute(f"TRUNCATE {sql.stored(name)}")
        problems = [(file.gate, file.path.name, file.problem) for file in files if file.problem]
        return Sealed(counts, problems)

    def _order(self) -> list[str]:
        """Faults and processes first: what requests met of them is computed from them."""
        first = ("faults", "processes")
        return [*first, *(name for name in self.tables if name not in (*first, "seals"))]

    def read(self, directory: Path) -> list[Rows]:
        """Every file of one run, compared with the run's closing record and with each other."""
        gate = directory.name
        read = {name: regular.read(directory / name) for name in _names(directory)}
        run_id = _run_id(read.get("runs.jsonl", b""))
        files = [
            self._read_file(directory / name, data, run_id, gate) for name, data in read.items()
        ]
        _compare(files, _closings(read.get(CLOSINGS, b"")), directory, run_id)
        _check_seqs(files)
        return files

    def _read_file(self, path: Path, data: bytes, run_id: str, gate: str) -> Rows:
        table = _table_of(path.name)
        file = Rows(
            path, table, run_id, gate, data.count(b"\n"), hashlib.sha256(data).hexdigest(), [], []
        )
        if table not in schema.TABLES and table not in self.collected:
            file.problems.append("no table has this name")
            return file
        rows = self._decode(file, data)
        foreign = sum(row.run_id != run_id or row.gate != gate for row in rows)
        if foreign:
            file.problems.append(f"{foreign} rows are of another run or gate")
        file.seqs = [row.seq for row in rows]
        file.meets = bool(rows) and (table == "faults" or _CLOSE_FRAMED in data)
        file.damaged = bool(file.problems)
        if len(data) <= SMALL_BYTES and not file.damaged and not _LONG_NUMBER.search(data):
            file.data = data
        return file

    def _decode(self, file: Rows, data: bytes) -> list[schema.Row]:
        """The rows of a file; lines that are cut off or cannot be read are noted and left out."""
        decoder = self._decoder(file.table)
        if data and not data.endswith(b"\n"):
            file.problems.append("the last line is cut off")
            data = data[: data.rfind(b"\n") + 1]
        try:
            _text_of(data)
            return decoder.decode_lines(data)
        except UNREADABLE:
            return _one_by_one(file, decoder, data)

    def _decoder(self, table: str) -> msgspec.json.Decoder[schema.Row]:
        if table not in self._decoders:
            kind = schema.TABLES.get(table) or _collected_struct(table, self.collected[table])
            self._decoders[table] = msgspec.json.Decoder(kind)
        return self._decoders[table]

    def _fill(self, name: str, files: Sequence[Rows]) -> int:
        second = schema.MERGED.get(name)
        mine = [file for file in files if file.table in (name, second) and file.lines]
        if not any(file.table == name for file in mine):
            return 0
        self._filled.append(name)
        with_faults = any(file.meets for file in files)
        try:
            return self._insert(name, mine, with_faults=with_faults)
        except duckdb.Error:
            for file in mine:
                self._probe(file)
            return self._insert(name, mine, with_faults=with_faults)

    def _insert(self, name: str, files: Sequence[Rows], *, with_faults: bool) -> int:
        tables = [name, *filter(None, [schema.MERGED.get(name)])]
        texts = [_text(table, files) for table in tables]
        if all(file.data for file in files) and sum(map(len, texts)) <= MOST_BYTES:
            return self._execute(name, texts, with_faults=with_faults)
        sources = [self._source(table, files) for table in tables]
        rows = self._rows(name, sources, with_faults=with_faults)
        return _count(self.connection.execute(sql.replace(name, self.tables[name], rows)))

    def _execute(self, name: str, texts: Sequence[str], *, with_faults: bool = False) -> int:
        """The same from the texts of a table alone, by a statement that is planned once."""
        statement = sql.quoted(f"fill {name}{' met' if with_faults else ''}")
        if statement not in self._prepared:
            tables = [name, *filter(None, [schema.MERGED.get(name)])]
            sources = [
                sql.lines(self._columns[table], f"${number}::VARCHAR")
                for number, table in enumerate(tables, start=1)
            ]
            rows = sql.typed(self.tables[name], self._rows(name, sources, with_faults=with_faults))
            self.connection.execute(f"PREPARE {statement} AS INSERT INTO {sql.stored(name)} {rows}")
            self._prepared.add(statement)
        self.connection.execute(f"TRUNCATE {sql.stored(name)}")
        given = ", ".join(map(sql.literal, texts))
        return _count(self.connection.execute(f"EXECUTE {statement}({given})"))

    def _rows(self, name: str, sources: Sequence[str], *, with_faults: bool) -> str:
        """The rows of a table in their order, from those of its files and of what they are merged with."""
        if len(sources) > 1:
            return sql.merged(name, *sources, with_faults=with_faults)
        if name == "seals":
            return sources[0]
        columns = [
            sql.collected_column(c, kind) for c, kind in self.collected.get(name, {}).items()
        ]
        return sql.in_order(sources[0], (*schema.COMMON, *columns) if columns else ("*",))

    def _source(self, table: str, files: Sequence[Rows]) -> str:
        mine = [file for file in files if file.table == table]
        small = _text(table, mine)
        text = small if len(small) <= MOST_BYTES else ""
        whole = [file.path for file in mine if not file.damaged and not (text and file.data)]
        damaged = [(file.path, file.run_id, file.gate) for file in mine if file.damaged]
        return sql.source(text, whole, damaged, self._columns[table])

    def _raw_columns(self, table: str) -> dict[str, str]:
        if table in self.collected:
            columns = {
                c: "JSON" if kind == "BOOLEAN" else kind
                for c, kind in self.collected[table].items()
            }
            return schema.collected_columns(columns)
        return schema.raw_columns(table)

    def _probe(self, file: Rows) -> None:
        """Find out whether a file is one that DuckDB cannot read, and read it leniently from then on."""
        file.data = b""
        try:
            self.connection.execute(sql.reader([file.path], self._columns[file.table])).fetchall()
        except duckdb.Error as error:
            file.damaged = True
            file.problems.append(f"it holds what no column can: {str(error).splitlines()[0]}")

    def _seal(self, files: Sequence[Rows]) -> None:
        if not files:
            return
        self._filled.append("seals")
        self._execute("seals", ["".join(map(_seal_line, files))])


def seal(directories: Sequence[Path], release: Path, collected: Collected) -> Sealed:
    """Write the evidence of many runs to `release`, one Parquet file per declared table, empty ones included.

    Every table has exactly its declared columns and its rows in order of gate, run and `seq`.
    """
    with contextlib.closing(in_memory()) as connection:
        loader = Loader(connection, collected)
        loader.create()
        sealed = loader.load(
            sorted(directories, key=lambda directory: (directory.name, str(directory)))
        )
        _digest(connection, [name for name in loader.tables if sealed.row_counts.get(name, 1)])
        release.mkdir(parents=True, exist_ok=True)
        for name in [*loader.tables, "digests"]:
            path = sql.literal(str(release / f"{name}.parquet"))
            connection.execute(
                f"COPY {sql.stored(name)} TO {path} (FORMAT parquet, COMPRESSION zstd)"
            )
        return sealed


def _digest(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    connection.execute(sql.create("digests", schema.DIGESTS))
    for name in names:
        connection.execute(
            f"INSERT INTO {sql.stored('digests')} SELECT #1, #2, {sql.literal(name)}, #3, #4"
            f" FROM ({sql.digest(name)}) ORDER BY gate, run_id"
        )


def _table_of(file_name: str) -> str:
    """`requests.load.jsonl` → `requests`, `collected.audit.jsonl` → `audit`."""
    return file_name.removeprefix(schema.COLLECTED_PREFIX).split(".", 1)[0]


def _text(table: str, files: Sequence[Rows]) -> str:
    """The lines of the small files of a table."""
    return b"".join(file.data for file in files if file.table == table).decode()


def _count(inserted: duckdb.DuckDBPyConnection) -> int:
    found = inserted.fetchone()
    return int(found[0]) if found else 0


def _seal_line(file: Rows) -> str:
    values = (file.run_id, file.gate, file.path.name, file.lines, file.sha256, file.problem)
    return msgspec.json.encode(dict(zip(schema.SEALS, values, strict=True))).decode() + "\n"


def _names(directory: Path) -> list[str]:
    """The files of a run; none when there is no such directory."""
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".jsonl"))  # noqa: PTH208 - names are enough
    except FileNotFoundError:
        return []


class _Head(Struct):
    run_id: str


_head = msgspec.json.Decoder(_Head)
_closing = msgspec.json.Decoder(schema.Closing)


def _run_id(runs: bytes) -> str:
    """The id of the run that a directory belongs to, from its first row; empty when there is none."""
    try:
        return _head.decode(runs.split(b"\n", 1)[0]).run_id
    except UNREADABLE:
        return ""


def _closings(data: bytes) -> dict[str, schema.Closing]:
    closings: dict[str, schema.Closing] = {}
    for line in data.splitlines():
        try:
            closing = _closing.decode(line)
        except UNREADABLE:
            continue
        if closings.setdefault(closing.file, closing) != closing:
            # A second word on the same file takes the first one back.
            closings[closing.file] = msgspec.structs.replace(closing, lines=CLOSED_TWICE)
    return closings


def _compare(
    files: list[Rows], closings: Mapping[str, schema.Closing], directory: Path, run_id: str
) -> None:
    """Note where a file is not what was closed, is missing, or was never closed."""
    for file in files:
        closing = closings.get(file.path.name)
        if file.path.name == CLOSINGS:
            continue
        if closing is None:
            file.problems.append("it was never closed")
        elif closing.lines == CLOSED_TWICE:
            file.problems.append("it was closed twice")
        elif (closing.lines, closing.sha256) != (file.lines, file.sha256):
            file.problems.append(
                f"it is not what was closed: {file.lines} lines, {closing.lines} then"
            )
    present = {file.path.name for file in files}
    missing = sorted({CLOSINGS, *closings} - present)
    files += [
        Rows(directory / name, "", run_id, directory.name, 0, "", [], ["it is missing"])
        for name in missing
    ]


def _check_seqs(files: Sequence[Rows]) -> None:
    """Every `seq` occurs once per table, and every answer has its request."""
    by_table: dict[str, set[int]] = {}
    for file in files:
        seen = by_table.setdefault(file.table, set())
        if len(set(file.seqs)) != len(file.seqs) or seen & set(file.seqs):
            file.problems.append("two of its rows have the same seq")
        seen |= set(file.seqs)
    if by_table.get("responses", set()) - by_table.get("requests", set()):
        for file in files:
            if file.table == "responses":
                file.problems.append("it has answers to requests that were never sent")


def _text_of(data: bytes) -> str:
    """As UTF-8, which is looked at nowhere else in what is kept as it is. Raises what is UNREADABLE."""
    return data.decode("utf-8")


def _one_by_one(
    file: Rows, decoder: msgspec.json.Decoder[schema.Row], data: bytes
) -> list[schema.Row]:
    rows: list[schema.Row] = []
    bad: list[str] = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            rows.append(decoder.decode(_text_of(line)))
        except UNREADABLE as error:
            bad.append(f"line {number}: {told(error)}")
    if bad:
        file.problems.append(f"{len(bad)} lines cannot be read ({bad[0]})")
    return rows


def _collected_struct(table: str, columns: Mapping[str, str]) -> type[schema.Row]:
    fields: list[tuple[str, object]] = [
        (name, _COLLECTED_HINTS[kind]) for name, kind in columns.items()
    ]
    made = msgspec.defstruct(
        f"collected_{table}", fields, bases=(schema.Row,), frozen=True, kw_only=True
    )
    assert issubclass(made, schema.Row)
    return made
