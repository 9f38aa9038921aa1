"""Turns the messages of a plan into bytes: what is sent, and the line that says so beforehand.

All that does not differ between two requests is put together once. A message then is a few byte
formats whose slots are filled from one tuple of values.
"""

import random
import re
import uuid
from collections.abc import Callable, Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Final

import msgspec

from chaos.answers import is_json, one_line
from chaos.http import build_request
from chaos.load.plan import Message, Plan

Values = tuple[int, int, float, float, bytes, int]
"""Of one request: seq, index, intended and sent (ms since the origin), uuid, length of the body."""

SEQ, INDEX, INTENDED, SENT, UUID, LENGTH = range(6)

_FORMATS: Final = (b"%d", b"%d", b"%.3f", b"%.3f", b"%b", b"%d")
_VARIABLE: Final = re.compile(rb"\{(i|uuid)\}")
_SLOTS: Final = {b"i": INDEX, b"uuid": UUID}
_NO_UUID: Final = b""
_NOTHING: Final[Values] = (0, 0, 0.0, 0.0, _NO_UUID, 0)
_LENGTH_MARK: Final = "\xff"
_LENGTH_LINE: Final = f"Content-Length: {_LENGTH_MARK}\r\n".encode("latin-1")

_encode = msgspec.json.Encoder().encode

Redact = Callable[[bytes], bytes]
"""Takes secrets out of what is about to be recorded."""


class _Format:
    """Bytes with slots, which are filled from `Values`."""

    def __init__(self, parts: Sequence[bytes | int]) -> None:
        self.slots = [part for part in parts if isinstance(part, int)]
        self._constant = b"".join(part for part in parts if isinstance(part, bytes))
        self._format = b"".join(
            _FORMATS[part] if isinstance(part, int) else part.replace(b"%", b"%%") for part in parts
        )
        self._pick = itemgetter(*self.slots) if self.slots else None

    def fill(self, values: Values) -> bytes:
        """The bytes for one request."""
        return self._constant if self._pick is None else self._format % self._pick(values)


def _parts(text: bytes) -> list[bytes | int]:
    """`text` cut at its variables, each of which becomes its slot."""
    pieces = _VARIABLE.split(text)
    return [_SLOTS[piece] if index % 2 else piece for index, piece in enumerate(pieces)]


class Template:
    """One message, the plan's `number`, ready to be sent any number of times."""

    def __init__(self, message: Message, plan: Plan, redact: Redact, number: int = 0) -> None:
        self.number = number
        body = None if message.body is None else message.body.encode()
        self._body = _Format(_parts(body or b""))
        self._head = _Format(_head_parts(message, plan, body, bool(self._body.slots)))
        self._line = _Format(_line_parts(message, plan, body, redact))
        self._constant = not (self._head.slots or self._body.slots)
        self._bytes = self._head.fill(_NOTHING) + self._body.fill(_NOTHING)
        slots = self._body.slots + self._head.slots + self._line.slots
        self._seed = f"{plan.seed}/{plan.load}/".encode() if UUID in slots else None
        self.head = message.method == "HEAD"

    def render(
        self, seq: int, index: int, intended_ms: float, sent_ms: float
    ) -> tuple[bytes, bytes]:
        """(line for the evidence, bytes of the request)."""
        unique = _NO_UUID if self._seed is None else seeded_uuid(self._seed, index)
        values = (seq, index, intended_ms, sent_ms, unique, 0)
        if self._constant:
            return self._line.fill(values), self._bytes
        body = self._body.fill(values)
        head = self._head.fill((seq, index, intended_ms, sent_ms, unique, len(body)))
        return self._line.fill(values), head + body


def seeded_uuid(seed: bytes, index: int) -> bytes:
    """A version 8 UUID (RFC 9562) that is the same for the same seed and index."""
    digest = bytearray(blake2b(seed + b"%d" % index, digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest))).encode()


def _head_parts(
    message: Message, plan: Plan, body: bytes | None, length_varies: bool
) -> list[bytes | int]:
    """Request line and headers; the length of a body with variables is a slot."""
    headers = list(message.headers)
    named = {name.lower() for name, _ in headers}
    if length_varies and not named & {"content-length", "transfer-encoding"}:
        headers.append(("Content-Length", _LENGTH_MARK))
    whole = build_request(message.method, message.path, f"{plan.host}:{plan.port}", headers, body)
    head = whole[: len(whole) - len(body or b"")]
    before, mark, after = head.partition(_LENGTH_LINE)
    if not mark:
        return _parts(head)
    return [*_parts(before + b"Content-Length: "), LENGTH, *_parts(b"\r\n" + after)]


def _line_parts(
    message: Message, plan: Plan, body: bytes | None, redact: Redact
) -> list[bytes | int]:
    """One line of the table `requests`; see `chaos.evidence.schema.Request`."""
    texts = {
        "run_id": plan.run_id,
        "gate": plan.gate,
        "step": plan.step,
        "load": plan.load,
        "actor": message.actor,
        "role": message.role,
        "method": message.method,
        "route": message.route,
        "link": plan.link,
        "process": plan.process,
    }
    fixed = redact(_encode(texts)).removesuffix(b"}")
    path = redact(_encode(message.path))
    return [
        fixed + b',"seq":',
        SEQ,
        b',"vars":' + _vars_prefix(redact(bytes(plan.vars))) + b'"i":',
        INDEX,
        b'},"path":',
        *_parts(path),
        b',"request":',
        *_parts(_json_template(redact(body)) if body else b"null"),
        b',"intended_ms":',
        INTENDED,
        b',"sent_ms":',
        SENT,
        b"}\n",
    ]


def _vars_prefix(variables: bytes) -> bytes:
    """The beginning of a JSON object with these variables that waits for one more."""
    inner = variables.strip().removeprefix(b"{").removesuffix(b"}").strip()
    return b"{" + inner + b"," if inner else b"{"


def _json_template(body: bytes) -> bytes:
    """The body as JSON. Whether it is JSON is known only when its variables have values."""
    if _is_json_with(body, b"0") and _is_json_with(body, b"10"):
        return one_line(body)
    return _encode(body.decode(errors="replace"))


def _is_json_with(body: bytes, index: bytes) -> bool:
    values = {b"i": index, b"uuid": seeded_uuid(b"", 0)}
    return is_json(_VARIABLE.sub(lambda match: values[match[1]], body))


class Choice:
    """Chooses among several templates, the same way for the same seed."""

    def __init__(self, templates: Sequence[Template], seed: int) -> None:
        self._templates = templates
        self._random = random.Random(seed)

    def next(self) -> Template:
        """The template of the next request."""
        if len(self._templates) == 1:
            return self._templates[0]
        return self._random.choice(self._templates)
