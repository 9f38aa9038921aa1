"""Takes the tables that a target declares as evidence, from copies, after their writers have stopped."""

import json
from pathlib import Path

from chaos.engine.files import database_copy, select
from chaos.engine.stack import Stack
from chaos.errors import HarnessError
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
    source = Path(stack.variables.text(declared.sqlite or declared.jsonl or ""))
    if not source.exists():
        return []
    if declared.jsonl is not None:
        return [_object(line, source) for line in source.read_text().splitlines() if line.strip()]
    columns = ", ".join(f'"{name}"' for name in declared.columns)
    with database_copy(source) as connection:
        try:
            return select(
                connection,
                declared.sql or f'SELECT {columns} FROM "{declared.table}" ORDER BY rowid',
            )
        except HarnessError as error:
            raise HarnessError(f"cannot collect {declared.table}: {error}") from error


def _object(line: str, source: Path) -> dict[str, object]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise HarnessError(f"{source.name} holds a line that is not an object")
    return value
