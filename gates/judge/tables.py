"""Names, columns and SQL of the tables that evidence is kept in, as the judge declares them."""

import re
from collections.abc import Mapping
from pathlib import Path

from chaos.evidence import schema

SCHEMA = "evidence"
"""Where all evidence lies. It is on no search path: users' SQL sees one run's rows and nothing else."""


def declared(collected: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Every table of a release but the digests, with its columns and their types."""
    tables: dict[str, Mapping[str, str]] = {
        n: schema.sealed_columns(n) for n in schema.sealed_tables()
    }
    tables |= {name: schema.collected_columns(columns) for name, columns in collected.items()}
    return tables | {"seals": schema.SEALS}


def quoted(name: str) -> str:
    """An identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text literal."""
    return "'" + text.replace("'", "''") + "'"


def stored(table: str) -> str:
    """The full name of an evidence table."""
    return f"{SCHEMA}.{quoted(table)}"


def alone(path: Path) -> str:
    """The literal that a function of DuckDB's takes for this one file, whatever its path looks like."""
    return literal(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def parquet(path: Path) -> str:
    """One Parquet file as a source of rows, by its columns alone."""
    return f"read_parquet({alone(path)}, hive_partitioning = false)"


def create_sql(name: str, columns: Mapping[str, str], kind: str = "TABLE") -> str:
    """The statement that makes an empty typed table."""
    return f"CREATE {kind} {name} ({', '.join(f'{quoted(c)} {t}' for c, t in columns.items())})"


def digest_sql(table: str) -> str:
    """Row count and digest per run: exclusive or of the MD5 of every row as JSON with its place among the run's rows.

    It notices a changed, added or missing value, and another order; it is no signature, which the manifest of a release carries.
    """
    return (
        "SELECT t.run_id, t.gate, count(*),"
        " bit_xor(md5_number(concat(t.rowid - f.first, ' ', to_json(t)::VARCHAR)))::VARCHAR"
        f" FROM {stored(table)} AS t JOIN"
        f" (SELECT run_id, gate, min(rowid) AS first FROM {stored(table)} GROUP BY run_id, gate) AS f"
        " ON t.run_id IS NOT DISTINCT FROM f.run_id AND t.gate IS NOT DISTINCT FROM f.gate"
        " GROUP BY t.run_id, t.gate"
    )
