"""The request id of an exchange with an internal process, which its answer shows."""

from typing import Final

from litestar.types import Scope, Send

from service.http.doorway import REQUEST_ID_HEADER, stamped
from service.ids import NewId

MAX_REQUEST_ID_CHARS: Final = 64


def labelled(scope: Scope, send: Send, new_id: NewId, *, known: bool) -> Send:
    """Give the exchange its id; return a `send` whose answer shows it.

    A `known` caller may name the request (`X-Request-Id`), so that one id follows it through all processes; for
    everybody else, and where it is no plain word, `new_id` makes one.
    """
    return stamped(scope, send, (_requested_id(scope) if known else None) or new_id("req"))


def _requested_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and 0 < len(value) <= MAX_REQUEST_ID_CHARS:
            text = value.decode("latin-1")
            return (
                text
                if text.isascii() and text.replace("_", "").replace("-", "").isalnum()
                else None
            )
    return None
