"""Answers as people and other tools read them: tables, and JSON."""

import datetime as dt
import json
import re
from collections.abc import Sequence
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from gates.html.words import NONE, counted, moment
from gates.incidents.analysis import Answer
from gates.incidents.bundle import Bundle
from gates.incidents.similar import Found

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NUMERIC = ("BIGINT", "INTEGER", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL", "UBIGINT")
_NUMBERS = ("similarity", "classes in common")
_WIDE = 10_000
"""Wider than any answer: what is no terminal does not break lines."""
SHORT_DIGEST = 12


def is_number(kind: str) -> bool:
    """Whether a column of this type holds numbers."""
    return kind.startswith(_NUMERIC)


def cell(value: object) -> str:
    """A value as it stands in a table: thousands apart, moments to the millisecond, digests by how they begin."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "milliseconds").removesuffix(".000")
    if isinstance(value, str):
        return value[:SHORT_DIGEST] if _DIGEST.fullmatch(value) else value
    return json.dumps(_plain(value), ensure_ascii=False)


def print_answers(answers: Sequence[Answer], console: Console) -> None:
    """Each answer as a table under its question; says of how many rows these are the first ones."""
    if not console.is_terminal:
        console.width = _WIDE
    for answer in answers:
        console.print(
            f"\n{answer.question.asks}  ({answer.question.name})", style="bold", markup=False
        )
        if not answer.rows:
            console.print("  nothing")
            continue
        table = Table(box=None, pad_edge=True, header_style="dim")
        for name, kind in answer.columns.items():
            justify: Literal["left", "right"] = "right" if is_number(kind) else "left"
            table.add_column(name, justify=justify, overflow="fold")
        for row in answer.rows:
            table.add_row(*(_escaped(cell(value)) for value in row))
        console.print(table, soft_wrap=False)
        if answer.total > len(answer.rows):
            console.print(
                f"  and {counted(answer.total - len(answer.rows), 'more row')};"
                f" --only {answer.question.name} --rows 0 shows all",
                markup=False,
            )


def print_near(found: Found, console: Console) -> None:
    """The nearest incidents as a table, and what of the library could not be read."""
    for folder, why in found.unread.items():
        console.print(f"{folder} is left out: {why}", markup=False)
    if not found.nearest:
        console.print("there is no other incident in this library")
        return
    table = Table(box=None, pad_edge=True, header_style="dim")
    for name in ("similarity", "incident", "began", "reason", "classes in common", "bundle"):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", overflow="fold")
    for near in found.nearest:
        shared = f"{near.shared_classes} of {near.classes}"
        row = (
            f"{near.similarity:.3f}",
            near.incident_id,
            moment(near.from_ms),
            near.reason,
            shared,
        )
        table.add_row(*map(_escaped, (*row, near.bundle)))
    console.print(table, soft_wrap=False)
    console.print(f"{len(found.nearest)} of {counted(found.known, 'incident')}", markup=False)


def as_json(bundles: Sequence[Bundle], answers: Sequence[Answer]) -> bytes:
    """All answers as one document; moments as ISO 8601 in UTC."""
    document = {
        "bundles": [
            {"bundle": str(bundle.directory), "incident_id": bundle.name} for bundle in bundles
        ],
        "answers": [
            {
                "question": answer.question.name,
                "asks": answer.question.asks,
                "columns": dict(answer.columns),
                "total": answer.total,
                "rows": [
                    dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows
                ],
            }
            for answer in answers
        ],
    }
    return (
        msgspec.json.format(json.dumps(document, ensure_ascii=False, allow_nan=False).encode())
        + b"\n"
    )


def _escaped(text: str) -> str:
    """Text without markup in it."""
    return text.replace("[", "\\[")


def _plain(value: object) -> object:
    """A value of DuckDB's as JSON has it."""
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)
