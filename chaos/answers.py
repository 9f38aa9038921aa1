"""What was answered, as it is recorded and as a scenario reads it: the same whoever asked.

A column of evidence holds an answer's own characters: numbers as they were spelt, a key that is repeated as often as it
came. Of a repeated key both the judge's SQL and `expect` and `capture` read the first. What is not kept as it came (a content
coding, a byte order mark, what is beyond the limit, what is not UTF-8) is told by a remark.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from chaos import bounds
from chaos.errors import UNREADABLE

MAX_BODY_BYTES: Final = bounds.BODY_BYTES
"""More of a body or a frame is read and not kept, which its `error` says."""

_BOM: Final = b"\xef\xbb\xbf"
_WINDOWS: Final[Mapping[str, tuple[int, ...]]] = {
    "gzip": (31,),
    "x-gzip": (31,),
    # With the header of zlib, as RFC 9110 wants it, or without, as many send it.
    "deflate": (15, -15),
}
"""Window sizes of zlib by content coding."""

CUT_SHORT: Final = (
    "only the end of the connection ended this answer, and something was on that ends connections: "
    "nothing says that it was whole"
)

_raw = msgspec.json.Decoder(msgspec.Raw)
_encode = msgspec.json.Encoder().encode


def is_json(body: bytes) -> bool:
    """Whether `body` is one JSON document (RFC 8259) in UTF-8."""
    try:
        _raw.decode(body)
        if not body.isascii():
            body.decode()
    except UNREADABLE:
        return False
    return True


def is_plain(body: bytes) -> bool:
    """Whether there is nothing to be said of a body without a content coding that is within the limit."""
    return body.isascii() or (is_utf8(body) and not body.startswith(_BOM))


def is_utf8(body: bytes) -> bool:
    """Whether `body` is UTF-8, which nothing is lost of when it becomes text."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def header_text(name: str, value: bytes) -> tuple[str, str | None]:
    """The value of a header as text, and what is to be said of it: the RFCs want ASCII, and many send UTF-8."""
    if value.isascii():
        return value.decode(), None
    if is_utf8(value):
        return value.decode(), f"the header {name} is not ASCII, and read as UTF-8"
    return value.decode("latin-1"), f"the header {name} is not ASCII, and read as Latin-1"


def content(
    body: bytes, codings: Iterable[str] = (), more_bytes: int = 0
) -> tuple[bytes, list[str]]:
    """What is recorded of a body, at most `MAX_BODY_BYTES`, and what is to be said of it.

    `codings` are its content codings in the order of their application; `more_bytes` is what was read of it beyond
    `body` and not kept.
    """
    remarks = [f"the body was cut: {more_bytes} bytes more"] if more_bytes else []
    for coding in reversed([name for name in codings if name != "identity"]):
        decoded = _decoded(body, coding, whole=not more_bytes)
        if decoded is None:
            remarks.append(f"the body is said to be {coding}, and is recorded as it came")
            break
        remarks.append(f"the body was {coding}, and is recorded decoded")
        body = decoded[:MAX_BODY_BYTES]
        if len(decoded) > len(body):
            remarks.append(f"the body was cut after {len(body)} bytes")
    if body.startswith(_BOM):
        body = body.removeprefix(_BOM)
        remarks.append("a byte order mark before the body was left out")
    # The end of what was cut may be half a character.
    if not is_utf8(body) and not (remarks and is_utf8(body[: _last_whole(body)])):
        remarks.append("the body is not UTF-8: what cannot be read is recorded as U+FFFD")
    return body, remarks


def _decoded(body: bytes, coding: str, *, whole: bool) -> bytes | None:
    """`body` without a content coding, at most one byte more than is kept; None when it is not that, or unknown."""
    for window in _WINDOWS.get(coding, ()):
        inflater = zlib.decompressobj(window)
        try:
            decoded = inflater.decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error:
            continue
        if inflater.eof or not whole or len(decoded) > MAX_BODY_BYTES:
            return decoded
    return None


def _last_whole(body: bytes) -> int:
    """Where the last character of UTF-8 begins that may be cut off."""
    place = len(body) - 1
    while place > 0 and len(body) - place < 4 and body[place] & 0xC0 == 0x80:
        place -= 1
    return max(place, 0)


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
