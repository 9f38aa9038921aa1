"""What somebody with the whole directory and without the key can do to a release."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import duckdb
import msgspec

from chaos.evidence.database import in_memory
from gates.release import rendered
from gates.release.closing import close
from gates.release.manifest import SIGNED
from gates.release.stages import judge_directory
from gates.verify.verify import Expected, verify


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def edit_json(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change an object and write it as it was written."""
    value = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    change(value)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)))


def edit_table(path: Path, sql: str) -> None:
    """Write a table again from a query over `old`, with all types as they were."""
    rewritten = path.with_suffix(".new")
    source = f"(WITH old AS (SELECT * FROM read_parquet('{path}')) {sql})"
    _duck().execute(f"COPY {source} TO '{rewritten}' (FORMAT parquet, COMPRESSION zstd)")
    rewritten.rename(path)


@cache
def _duck() -> duckdb.DuckDBPyConnection:
    """One for all edits: to open it takes longer than to rewrite a small table."""
    return in_memory()


def close_again(directory: Path, *, judge: bool = True) -> None:
    """Make everything consistent that can be: report, manifest and attestation, all but the signature."""
    (directory / SIGNED).unlink(missing_ok=True)
    judgement = judge_directory(directory)
    if judge:
        rendered.write(directory, judgement)
    close(directory, judgement.report, judgement.shipped.session, judgement.shipped.specs, None)


def problems(directory: Path, expected: Expected | None = None) -> dict[str, list[str]]:
    """What verifying says, by path."""
    found: dict[str, list[str]] = {}
    for flaw in verify(directory, expected or Expected()).flaws:
        found.setdefault(flaw.path, []).append(flaw.problem)
    return found
