"""Finds what the target let out of secrets in a row, before they are taken out of it."""

from collections.abc import Iterator, Mapping

import msgspec

from chaos.evidence import schema
from chaos.evidence.redaction import Redactor

SAID_BY_TARGET: Mapping[str, tuple[str, ...]] = {
    "responses": ("response", "headers"),
    "frames": ("headers", "json"),
    "commands": ("output", "errors"),
    "rows": ("row",),
}
"""Columns of raw files that hold what the target said, `json` only of frames that came in."""

_SEALED_AS = {second: first for first, second in schema.MERGED.items()}
_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


def sightings(file: str, line: bytes, redactor: Redactor) -> Iterator[dict[str, object]]:
    """The columns of a row of `secrets` for each secret in what the target said in one line of `file`.

    What the harness said itself, like the requests that it sent, is not looked at.
    """
    row = _decode(line)
    table = file.removeprefix(schema.COLLECTED_PREFIX)
    for column in _said_by_target(file, row):
        for name in redactor.found(_encode(row[column])):
            yield {
                "secret": name,
                "found_in": _SEALED_AS.get(table, table),
                "found_seq": row["seq"],
                "found_at": column,
            }


def _said_by_target(file: str, row: dict[str, object]) -> list[str]:
    if file.startswith(schema.COLLECTED_PREFIX):
        return [column for column in row if column not in schema.COMMON]
    columns = SAID_BY_TARGET.get(file, ())
    return [column for column in columns if column != "json" or row["direction"] == "in"]
