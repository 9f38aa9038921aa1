"""DuckDB as it is used everywhere: in memory, on one thread, without a word."""

import duckdb


def in_memory(**options: str) -> duckdb.DuckDBPyConnection:
    """A new database with these settings besides; closes with the connection."""
    connection = duckdb.connect(":memory:", config={"threads": "1", **options})
    # It is drawn for any query of two seconds, also into a log.
    connection.execute("SET enable_progress_bar = false")
    return connection
