"""What a body has to be before anything reads it: JSON in UTF-8, said to be that, and not nested for its own sake."""

import re
from itertools import accumulate
from typing import ClassVar, Final

from litestar.exceptions import InternalServerException
from litestar.types import (
    HTTPReceiveMessage,
    HTTPRequestEvent,
    Receive,
    WebSocketReceiveMessage,
)

from service.errors import Invalid, ProblemError
from service.http.problems import AnyRequest
from service.http.sockets import SAFE_METHODS

MAX_DEPTH: Final = 64
_JSON: Final = re.compile(
    rb'application/json(?:[ \t]*;[ \t]*charset="?utf-?8"?)?[ \t]*', re.IGNORECASE
)
# Possessive, so that a text without its end is passed over once. What is no JSON is left to whoever decodes it.
_TEXTS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_DIGITS: Final = b"0123456789"
_LONG: Final = re.compile(rb"\d{19}")
_INTEGERS: Final = re.compile(rb"(?<![\d.eE+-])-?\d{19,}+(?![\d.eE])")
_STEPS: Final = dict(zip(b"[{]}", (1, 1, -1, -1), strict=True))
_NO_BRACKETS: Final = bytes(set(range(256)) - _STEPS.keys())


class UnsupportedMediaType(ProblemError):
    """The body is not said to be JSON. Browsers let pages send anything else anywhere, without asking."""

    status: ClassVar[int] = 415
    title: ClassVar[str] = "Unsupported media type"
    default_code: ClassVar[str] = "unsupported_media_type"


class BodyTooLarge(ProblemError):
    """The body is longer than any that is accepted."""

    status = 413
    title = "Content too large"
    default_code = "too_large"


async def check_body(request: AnyRequest) -> None:
    """Look at the body of a request that may change something. Raises UnsupportedMediaType and Invalid."""
    if request.method in SAFE_METHODS:
        return
    try:
        body = await request.body()
    except InternalServerException:
        # Nobody is there to be answered, and it is no defect of SONIA that would have to be looked into.
        raise Invalid("the body did not come to its end") from None
    if not body:
        return
    types = [value for name, value in request.scope["headers"] if name == b"content-type"]
    if types != [b"application/json"] and (len(types) != 1 or not _JSON.fullmatch(types[0])):
        raise UnsupportedMediaType("a body is sent as application/json")
    check_json(body)


def check_json(body: bytes) -> None:
    """Raises Invalid for what is not UTF-8, is nested more than MAX_DEPTH deep, or holds an integer of more than 64 bits.

    Other faults are for a decoder to find.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"the body is not UTF-8 at byte {error.start}") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body):
        raise Invalid(f"the body is nested more than {MAX_DEPTH} deep")
    # Of nineteen digits in a row one is at such a place; looking for all of them takes a hundred times as long.
    sampled = body[18::19]
    if sampled.translate(None, _DIGITS) == sampled:
        return
    if _LONG.search(body) and not all(map(_fits, _INTEGERS.findall(_TEXTS.sub(b"", body)))):
        raise Invalid("an integer in the body has more than 64 bits")


def _fits(digits: bytes) -> bool:
    return len(digits) <= 20 and -(1 << 63) <= int(digits) < 1 << 64


def _is_deep(body: bytes) -> bool:
    brackets = _TEXTS.sub(b"", body).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Read the whole body; None when the caller left before its end. Raises BodyTooLarge."""
    chunks: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message["body"])
        length += len(message["body"])
        if length > limit:
            raise BodyTooLarge(f"the body is longer than {limit} bytes")
        if not message["more_body"]:
            return b"".join(chunks)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` first and then whatever else comes."""
    whole: HTTPRequestEvent = {"type": "http.request", "body": body, "more_body": False}
    waiting = [whole]

    async def again() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        return waiting.pop() if waiting else await receive()

    return again
