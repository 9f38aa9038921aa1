"""What was answered, as it is recorded and as a scenario reads it: the same whoever asked.

A column of evidence holds an answer's own characters: numbers as they were spelt, a key that is repeated as often as it
came. Of a repeated key both the judge's SQL and `expect` and `capture` read the first.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chaos import bounds

MAX_BODY_BYTES: Final = bounds.BODY_BYTES
"""More of a body is read and not kept, which the answer's `error` says."""

_raw = msgspec.json.Decoder(msgspec.Raw)
_encode = msgspec.json.Encoder().encode


def is_json(body: bytes) -> bool:
    """Whether `body` is one JSON document (RFC 8259) in UTF-8."""
    try:
        _raw.decode(body)
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def one_line(document: bytes) -> bytes:
    """A JSON document without line breaks: in JSON they are white space, never part of a string."""
    return document.replace(b"\n", b" ").replace(b"\r", b" ").strip()


def body_column(body: bytes) -> bytes:
    """A body as one line of JSON: itself when it is JSON, otherwise a JSON string; null when empty."""
    if not is_json(body):
        return _encode(body.decode(errors="replace")) if body else b"null"
    return one_line(body) if b"\n" in body or b"\r" in body else body


def headers_column(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as a JSON object; see `headers_by_name`."""
    return _encode(headers_by_name(headers))


def headers_by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers of an answer by lower-case name; repeated ones are joined by a comma."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def document(body: bytes) -> object:
    """What `body_column` records, as a value: JSON where it is JSON, text otherwise, None when there is none."""
    if not is_json(body):
        return body.decode(errors="replace") if body else None
    try:
        return json.loads(body, object_pairs_hook=_first_of_each)
    except (ValueError, RecursionError):
        # Nested too deep, or a number of thousands of digits.
        return body.decode(errors="replace")


def _first_of_each(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    return dict(reversed(pairs))
