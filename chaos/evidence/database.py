"""DuckDB as it is used for evidence: in memory, on one thread, without a word."""

import duckdb


def in_memory() -> duckdb.DuckDBPyConnection:
    """A new database, which ends with its connection."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    # It is drawn for any query of two seconds, also into a log.
    connection.execute("SET enable_progress_bar = false")
    return connection
