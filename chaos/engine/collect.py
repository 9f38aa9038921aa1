"""Takes the tables that a target declares as evidence, from copies, after their writers have stopped."""

from pathlib import Path

import msgspec

from chaos import bounds, regular
from chaos.engine.files import database_copy, quoted, select
from chaos.engine.paths import Places
from chaos.engine.stack import Stack
from chaos.errors import UNREADABLE, HarnessError, told
from chaos.evidence.recorder import Recorder
from chaos.spec.target import Collect


async def collect(stack: Stack, recorder: Recorder) -> None:
    """Record every declared table whose source exists. A shared stack's writers run on: it has none."""
    for declared in stack.target.collect:
        for row in _rows(declared, stack):
            recorder.add_collected(
                declared.table, {name: row.get(name) for name in declared.columns}
            )


def _rows(declared: Collect, stack: Stack) -> list[dict[str, object]]:
    if declared.jsonl is not None:
        return _lines(stack.variables.text(declared.jsonl), stack.places)
    source = stack.places.read(stack.variables.text(declared.sqlite or ""))
    if not source.exists():
        return []
    columns = ", ".join(map(quoted, declared.columns))
    table = quoted(declared.table)
    written = stack.variables.text(declared.sql) if declared.sql is not None else None
    sql = written or f"SELECT {columns} FROM {table} ORDER BY rowid"  # noqa: S608 - quoted names
    try:
        with database_copy(source) as connection:
            return select(connection, sql)
    except HarnessError as error:
        raise HarnessError(f"cannot collect {declared.table}: {told(error)}") from error


def _lines(source: str, places: Places) -> list[dict[str, object]]:
    """The objects of a file, or of all `*.jsonl` of a directory, in the order of their names."""
    path = places.project / source
    files = sorted(map(str, path.glob("*.jsonl"))) if path.is_dir() else [source]
    there = [each for each in map(places.read, files) if each.exists()]
    if sum(each.stat().st_size for each in there) > bounds.COLLECTED_BYTES:
        raise HarnessError(f"{source!r} is larger than {bounds.COLLECTED_BYTES} bytes")
    return [row for each in there for row in objects(each)]


def objects(source: Path) -> list[dict[str, object]]:
    """The objects of a file of JSON lines. A last line that its writer did not finish is left out."""
    lines = regular.read(source, bounds.COLLECTED_BYTES).split(b"\n")
    found: list[dict[str, object]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=dict[str, object]))
        except UNREADABLE as error:
            if number == len(lines):
                break
            message = f"line {number} of {source.name} is no JSON object: {told(error)}"
            raise HarnessError(message) from error
    return found
