"""The same questions, asked of Apache Spark: what is written for DuckDB, translated by sqlglot.

For those who have an engine beside their object storage already. Needs the extra `spark` and Java, and checks no digests:
of a lake there is no manifest. Imported only when it is asked for.
"""

import datetime as dt
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import sqlglot
from pyspark.sql import SparkSession
from sqlglot import exp

from gates.incidents.analysis import Answer, Bundles, Row
from gates.incidents.bundle import LINES, Bundle
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
from gates.judge.tables import literal

_TYPES: Final[Mapping[str, str]] = {
    "VARCHAR": "STRING",
    "BIGINT": "BIGINT",
    "DOUBLE": "DOUBLE",
    # What is no text stays as it is written.
    "JSON": "STRING",
    "TIMESTAMP": "TIMESTAMP",
    "STRUCT(kind VARCHAR, value JSON)[]": "ARRAY<STRUCT<kind: STRING, value: STRING>>",
}


def translated(sql: str) -> str:
    """A question in Spark's SQL."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    return str(tree.transform(_percentiles).sql(dialect="spark"))


def _percentiles(node: exp.Expression) -> exp.Expression:
    """`quantile_disc(x, [p, …])`, which Spark has only one by one and in the words of the standard."""
    if isinstance(node, exp.Anonymous) and node.name.lower() == "quantile_disc":
        values, parts = node.expressions
    elif isinstance(node, exp.PercentileDisc | exp.Quantile):
        values, parts = node.this, node.args.get("quantile") or node.expression
    else:
        return node
    if not isinstance(parts, exp.Array):
        return node
    one_by_one = [
        exp.WithinGroup(
            this=exp.Anonymous(this="PERCENTILE_DISC", expressions=[part.copy()]),
            expression=exp.Order(expressions=[exp.Ordered(this=values.copy())]),
        )
        for part in parts.expressions
    ]
    return exp.Array(expressions=one_by_one)


@contextmanager
def asking(bundles: Bundles, questions: Sequence[Question], threads: int) -> Iterator["Spark"]:
    """A local Spark with the views that these questions read."""
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.master(f"local[{threads}]")
        .appName("incidents")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.sql.shuffle.partitions", str(threads))
        .getOrCreate()
    )
    try:
        spark = Spark(session)
        spark.make(bundles, {view for question in questions for view in question.tables})
        yield spark
    finally:
        session.stop()


class Spark:
    """Asks one session."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def ask(self, question: Question, most: int | None = None) -> Answer:
        """The answer, its columns by the names of their types in Spark."""
        frame = self._session.sql(translated(question.sql))
        rows: list[Row] = [tuple(map(_plain, row)) for row in frame.collect()]
        columns = {name: _NAMES.get(kind, kind.upper()) for name, kind in frame.dtypes}
        return Answer(question, columns, rows[:most], len(rows))

    def make(self, bundles: Bundles, views: set[str]) -> None:
        """Make the views."""
        for view in sorted(views):
            prefix, table = file_of(view)
            if table in SMALL:
                self._small(view, small_rows(table, bundles[prefix]))
            else:
                self._view(view, table, bundles[prefix])

    def _view(self, view: str, table: str, bundles: Sequence[Bundle]) -> None:
        schema = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in COLUMNS[table].items())
        read = self._session.read.schema(schema)
        frame = None
        for bundle in bundles:
            path = str(bundle.sources[table].resolve())
            is_lines = bundle.sources[table].suffix == LINES
            one = read.json(path) if is_lines else read.parquet(path)
            frame = one if frame is None else frame.unionByName(one)
        assert frame is not None
        own = f"file_of_{view}"
        frame.createOrReplaceTempView(own)
        time, moment = MOMENTS[table]
        if view.endswith(INPUTS):
            sql = (
                "SELECT request_id, n, stage, place + 1 AS place, input.kind AS kind, input.value AS value"
                f" FROM {own} LATERAL VIEW posexplode(inputs) AS place, input"
            )
        else:
            plain = ", ".join(name for name in COLUMNS[table] if name != INPUTS)
            at = f"timestamp_micros(CAST(round({time} * 1000) AS BIGINT)) AS {moment}"
            sql = f"SELECT {plain}, {at} FROM {own}"
        self._session.sql(sql).createOrReplaceTempView(view)

    def _small(self, view: str, rows: Sequence[Row]) -> None:
        columns = VIEWS[view]
        listed = ", ".join(
            "("
            + ", ".join(
                f"timestamp_micros({value})" if isinstance(value, int) else _quoted(str(value))
                for value in row
            )
            + ")"
            for row in rows
        )
        names = ", ".join(columns)
        empty = ", ".join(
            f"CAST(NULL AS {_TYPES[kind]}) AS {name}" for name, kind in columns.items()
        )
        sql = (
            f"SELECT * FROM VALUES {listed} AS listed({names})"
            if rows
            else f"SELECT {empty} WHERE false"
        )
        self._session.sql(sql).createOrReplaceTempView(view)


_NAMES: Final = {
    "string": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "timestamp": "TIMESTAMP",
}


def _quoted(text: str) -> str:
    return literal(text.replace("\\", "\\\\")).replace("''", "\\'") if text else "''"


def _plain(value: object) -> object:
    """A value as DuckDB gives it: a moment in UTC and not in the zone of this machine, a quotient as a float."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return float(value) if isinstance(value, Decimal) else value
