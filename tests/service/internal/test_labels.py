"""Which request id an exchange gets."""

import asyncio
from typing import Any, cast

import pytest

from service.internal.labels import labelled


def label_of(asked: list[bytes], *, known: bool) -> str:
    """The id that an exchange gets whose headers ask for `asked`, once its answer was seen to show it."""
    sent: list[Any] = []
    scope: Any = {"headers": [(b"x-other", b"x"), *[(b"x-request-id", each) for each in asked]]}

    async def send(message: Any) -> None:
        sent.append(message)

    labelling = labelled(scope, send, lambda prefix: f"{prefix}_new", known=known)
    start = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
    asyncio.run(labelling(cast("Any", start)))
    asyncio.run(labelling({"type": "http.response.body", "body": b"", "more_body": False}))

    request_id: str = scope["state"]["request_id"]
    assert sent[0]["headers"] == [(b"a", b"b"), (b"x-request-id", request_id.encode())]
    assert sent[1] == {"type": "http.response.body", "body": b"", "more_body": False}
    return request_id


@pytest.mark.parametrize("asked", [b"a", b"req_0-1", b"x" * 64])
def test_whoever_is_known_may_name_the_request(asked: bytes) -> None:
    assert label_of([asked], known=True) == asked.decode()
    assert label_of([asked], known=False) == "req_new"


@pytest.mark.parametrize(
    "asked", [b"", b"_", b"-", b"a b", b"a\n", "\u00e9".encode("latin-1"), b"x" * 65]
)
def test_what_is_no_plain_word_names_nothing(asked: bytes) -> None:
    assert label_of([asked], known=True) == "req_new"


def test_who_asks_for_nothing_gets_an_id() -> None:
    assert label_of([], known=True) == "req_new"
