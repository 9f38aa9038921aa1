"""Asks questions of bundles, in a DuckDB that sees nothing else and stays within its memory.

Lines that several questions read are read once, into a Parquet file in a directory that is gone afterwards; what one
question reads alone is read where it lies. What does not fit into memory is spilled into that directory. Digests are
computed beside that, and are what an analysis ends with: without them there is no answer.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import duckdb
from msgspec import Struct

from chaos.errors import HarnessError, Problem, SpecError
from gates.incidents.bundle import (
    LINES,
    Bundle,
    first_bad_line,
    raise_forged,
)
from gates.incidents.questions import Question
from gates.incidents.tables import (
    COLUMNS,
    INPUTS,
    MOMENTS,
    SMALL,
    VIEWS,
    file_of,
    small_rows,
)
from gates.judge.connection import connected, details_of, lock, message_of
from gates.judge.tables import alone, create_sql, literal, parquet, quoted

LARGEST_LINE_BYTES: Final = 2 * 2**20
"""DuckDB reads lines into buffers of twice that, one for each thread and then some."""
_MAKE: Final = "CREATE OR REPLACE TEMP TABLE answer AS "
Row: TypeAlias = tuple[object, ...]
Bundles: TypeAlias = Mapping[str, Sequence[Bundle]]
"""By what the names of their tables begin with: nothing, or `base_`."""


class Limits(Struct, frozen=True):
    """What an analysis may take: memory as DuckDB writes it, threads, and the directory that it may spill into."""

    memory: str = "1GB"
    threads: int = os.cpu_count() or 1
    spill: Path = Path(tempfile.gettempdir())


class Answer(Struct, frozen=True):
    """What was found: the columns with their types, and the first of `total` rows, or all."""

    question: Question
    columns: Mapping[str, str]
    rows: Sequence[Row]
    total: int


class Analysis:
    """Bundles as views of one locked connection. Nothing that it answers may be shown before `analysing` has ended."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,
        bundles: Bundles,
        unforged: "Future[None]",
    ) -> None:
        self._connection = connection
        self._scratch = scratch
        self._bundles = bundles
        self._unforged = unforged

    def ask(self, question: Question, most: int | None = None) -> Answer:
        """The answer with its first `most` rows, or all.

        Raises SpecError where the SQL goes wrong over these rows, BundleError where one of them is none.
        """
        with self._telling(question):
            self._connection.execute(_MAKE + question.sql)
        described = self.rows("DESCRIBE answer")
        limit = "" if most is None else f" LIMIT {most}"
        ((total,),) = self.rows("SELECT count(*) FROM answer")
        return Answer(
            question,
            {str(name): str(kind) for name, kind, *_ in described},
            self.rows(f"SELECT * FROM answer{limit}"),
            int(str(total)),
        )

    def write(self, question: Question, path: Path) -> Answer:
        """Write the answer as a Parquet file."""
        answer = self.ask(question, 0)
        made = self._scratch / "answer.parquet"
        self.rows(f"COPY answer TO {literal(str(made))} (FORMAT parquet)")
        shutil.move(made, path)
        return answer

    def raise_forged(self) -> None:
        """Wait for the digests; raises BundleError. `analysing` ends with it, for whoever does nothing before."""
        self._unforged.result()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of SQL of our own."""
        with self._telling(None):
            return self._connection.execute(sql, list(values)).fetchall()

    @contextmanager
    def _telling(self, question: Question | None) -> Iterator[None]:
        """Turn an error of DuckDB's into one about the memory, a line of a bundle, or the question."""
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException):
                asked = question.name if question is not None else "this"
                raise HarnessError(
                    f"{asked} needs more memory, or room to spill to, than it has; give it more with --memory"
                    f" or another directory with --spill ({message_of(error)})"
                ) from None
            self._unforged.result()
            for table, path in self._lines():
                bad = first_bad_line(path, table)
                if bad is not None:
                    raise bad from None
            if question is None:
                raise HarnessError(f"the bundle cannot be read: {message_of(error)}") from None
            raise SpecError([_problem(question, error, len(_MAKE))]) from None

    def _lines(self) -> Iterator[tuple[str, Path]]:
        for bundles in self._bundles.values():
            for bundle in bundles:
                for table, path in bundle.sources.items():
                    if path.suffix == LINES:
                        yield table, path


@contextmanager
def analysing(
    bundles: Bundles,
    questions: Sequence[Question],
    limits: Limits,
    also: Iterable[str] = (),
    writes: Iterable[Path] = (),
) -> Iterator[Analysis]:
    """Make ready for these questions; `also` are views that are read beside them, `writes` directories to write into.

    Raises SpecError where a question cannot be asked, and at the end BundleError where a file is not what it was.
    """
    raise_unaskable(questions)
    uses = Counter(view for question in questions for view in question.tables)
    uses.update(iter(also))
    directory = tempfile.mkdtemp(prefix="incident-", dir=limits.spill)
    scratch = Path(directory).resolve()
    try:
        with ThreadPoolExecutor(1) as beside, _connected(limits, scratch) as connection:
            unforged = beside.submit(_raise_forged, bundles, {file_of(view) for view in uses})
            analysis = Analysis(connection, scratch, bundles, unforged)
            for prefix, own in bundles.items():
                for sql in _views(prefix, own, uses, scratch):
                    analysis.rows(sql)
            lock(connection, (scratch, *writes), _sources(bundles))
            yield analysis
            unforged.result()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def raise_unaskable(questions: Iterable[Question]) -> None:
    """Raise SpecError for every question that tables as declared have no answer to, whatever is in them."""
    problems: list[Problem] = []
    with duckdb.connect(":memory:", config={"errors_as_json": "true"}) as connection:
        for view, columns in VIEWS.items():
            connection.execute(create_sql(quoted(view), columns))
        lock(connection, ())
        for question in questions:
            try:
                connection.execute(question.sql)
            except duckdb.Error as error:
                problems.append(_problem(question, error))
    if problems:
        raise SpecError(problems)


def statements(bundles: Bundles, questions: Iterable[Question]) -> Iterator[str]:
    """SQL that makes the views which these questions read, for whoever asks them elsewhere."""
    uses = Counter(view for question in questions for view in question.tables)
    for prefix, own in bundles.items():
        yield from _views(prefix, own, uses, None)


def _problem(question: Question, error: duckdb.Error, before: int = 0) -> Problem:
    """What is wrong with a question, `before` whose SQL so many bytes were put."""
    message, offset = details_of(error)
    return question.problem(message, max(offset - before, 0) if offset is not None else None)


def _raise_forged(bundles: Bundles, read: AbstractSet[tuple[str, str]]) -> None:
    for prefix, own in bundles.items():
        tables = [table for table in COLUMNS if (prefix, table) in read]
        for bundle in own:
            raise_forged(bundle, tables)


def _sources(bundles: Bundles) -> Iterator[Path]:
    for own in bundles.values():
        for bundle in own:
            yield from bundle.sources.values()


def _connected(limits: Limits, scratch: Path) -> duckdb.DuckDBPyConnection:
    spilled = str(scratch / "spilled")
    try:
        return connected(limits.threads, limits.memory, temp_directory=spilled)
    except duckdb.Error as error:
        raise HarnessError(f"DuckDB does not start: {message_of(error)}") from None


def copies(bundle: Bundle, table: str, path: Path) -> str:
    """SQL that copies a whole table into a Parquet file, its rows in their order."""
    rows = _rows(table, tuple(COLUMNS[table]), bundle.sources[table])
    return f"COPY ({rows}) TO {literal(str(path.resolve()))} (FORMAT parquet, COMPRESSION zstd)"


def _views(
    prefix: str, bundles: Sequence[Bundle], uses: Mapping[str, int], scratch: Path | None
) -> Iterator[str]:
    """Statements that make the views of some bundles, as far as they are used; with a `scratch`, what is used often is copied."""
    used = {view for view in uses if file_of(view)[0] == prefix}
    for table in SMALL:
        if prefix + table in used:
            yield from _small(prefix + table, small_rows(table, bundles))
    for table in COLUMNS:
        own = [view for view in used if file_of(view) == (prefix, table)]
        if not own:
            continue
        names = [name for name in COLUMNS[table] if name != INPUTS or prefix + INPUTS in own]
        rows = " UNION ALL ".join(_rows(table, names, bundle.sources[table]) for bundle in bundles)
        is_lines = any(bundle.sources[table].suffix == LINES for bundle in bundles)
        if scratch is not None and is_lines and sum(uses[view] for view in own) > 1:
            copy = scratch / f"{prefix}{table}.parquet"
            yield f"COPY ({rows}) TO {literal(str(copy))} (FORMAT parquet, COMPRESSION lz4)"
            rows = _rows(table, names, copy)
        yield from _view(prefix, table, own, rows)


def _view(prefix: str, table: str, own: Sequence[str], rows: str) -> Iterator[str]:
    time, moment = MOMENTS[table]
    at = f"make_timestamp(CAST(round({time} * 1000) AS BIGINT)) AS {moment}"
    plain = ", ".join(quoted(name) for name in COLUMNS[table] if name != INPUTS)
    if prefix + table in own:
        yield f"CREATE VIEW {prefix}{table} AS SELECT {plain}, {at} FROM ({rows})"
    if prefix + INPUTS in own:
        yield (
            f"CREATE VIEW {prefix}{INPUTS} AS SELECT request_id, n, stage, place, inputs[place].kind AS kind,"
            f" inputs[place].value AS value FROM (SELECT *, unnest(range(1, len(inputs) + 1)) AS place FROM ({rows}))"
        )


def _rows(table: str, names: Sequence[str], path: Path) -> str:
    """SQL of the rows in one file."""
    columns = {name: COLUMNS[table][name] for name in names}
    return f"SELECT {', '.join(map(quoted, columns))} FROM {_file(path, columns)}"


def _file(path: Path, columns: Mapping[str, str]) -> str:
    """SQL of one file as a source of rows, whatever its path looks like."""
    path = path.resolve()
    if path.suffix != LINES:
        return parquet(path)
    typed = ", ".join(f"{quoted(name)}: {literal(kind)}" for name, kind in columns.items())
    return (
        f"read_json({alone(path)}, format = 'newline_delimited', auto_detect = false,"
        f" maximum_object_size = {LARGEST_LINE_BYTES}, columns = {{{typed}}})"
    )


def _small(view: str, rows: Sequence[Row]) -> Iterator[str]:
    columns = VIEWS[view]
    yield create_sql(quoted(view), columns)
    for row in rows:
        values = (
            f"make_timestamp({value})" if isinstance(value, int) else literal(str(value))
            for value in row
        )
        yield f"INSERT INTO {quoted(view)} VALUES ({', '.join(values)})"
