"""Bodies are JSON in UTF-8, said to be that, and not nested for its own sake."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import post

from service.errors import Invalid
from service.gateway.app import assemble
from service.http.bodies import MAX_DEPTH, UnsupportedMediaType, check_body, check_json
from service.http.guards import PUBLIC


def checked(body: bytes, *types: bytes, method: str = "POST") -> None:
    async def read() -> bytes:
        return body

    headers = [(b"content-type", each) for each in types]
    request: Any = SimpleNamespace(method=method, scope={"headers": headers}, body=read)
    asyncio.run(check_body(request))


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
    ],
)
def test_json_is_said_to_be_json(kind: bytes) -> None:
    checked(b"{}", kind)


@pytest.mark.parametrize(
    "types",
    [
        (),
        (b"text/plain",),
        (b"",),
        (b"application/jsonp",),
        (b"text/plain; application/json",),
        (b"application/json; charset=latin-1",),
        (b"application/x-www-form-urlencoded",),
        (b"multipart/form-data; boundary=x",),
        (b"application/json", b"application/json"),
        (b"application/json, text/plain",),
    ],
)
def test_anything_else_is_no_body(types: tuple[bytes, ...]) -> None:
    with pytest.raises(UnsupportedMediaType):
        checked(b"{}", *types)
    checked(b"", *types)
    checked(b"{}", *types, method="GET")


@pytest.mark.parametrize("body", [b'"\xff"', b"\xef\xbb", b'{"a": "\xed\xa0\x80"}', b"\xc0\x80"])
def test_what_is_no_utf_8_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid, match="UTF-8"):
        checked(body, b"application/json")


def test_a_caller_that_leaves_before_the_end_of_a_body_is_no_failure_of_the_server() -> None:
    @post("/x", opt=PUBLIC)
    async def handler() -> None:
        raise AssertionError

    async def leave() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/x",
        "headers": [],
        "query_string": b"",
        "state": {"request_id": "req_1"},
    }
    asyncio.run(assemble([handler])(scope, leave, send))
    assert sent[0]["status"] == 400
    assert b"did not come to its end" in sent[1]["body"]


DEEP = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        b"[" + b",".join([DEEP[1:-1]] * 9) + b"]",
        b'["' + b"[" * 5000 + b'"]',
        b'["\\"' + b"[{" * 5000 + b'", "\\\\", {}]',
        b"[]" * 5000,
    ],
)
def test_brackets_beside_one_another_and_in_texts_are_not_deep(body: bytes) -> None:
    check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + DEEP + b"]",
        b"[" * 100_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'["\\\\",' + DEEP + b"]",
        b'["[", ' * 65,
    ],
)
def test_what_is_deeper_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid, match="nested"):
        check_json(body)


NINES = b"9" * 30


@pytest.mark.parametrize(
    "body",
    [
        b"[18446744073709551615, -9223372036854775808, 1000000000000000000]",
        b'{"a":"' + NINES + b'"}',
        b'{"' + NINES + b'":1}',
        b"[0."
        + NINES
        + b", -1e-"
        + NINES
        + b", 1e+"
        + NINES
        + b", "
        + NINES
        + b".5, "
        + NINES
        + b"e1]",
    ],
)
def test_integers_of_64_bits_texts_and_fractions_are_left(body: bytes) -> None:
    check_json(body)


@pytest.mark.parametrize(
    "number", [b"18446744073709551616", b"-9223372036854775809", NINES, b"-" + NINES, b"9" * 5000]
)
def test_longer_integers_are_invalid_wherever_they_stand(number: bytes) -> None:
    for body in (
        number,
        b"[1," + number + b"]",
        b'{"a":{"b": ' + number + b"}}",
        b'["x",\n' + number,
    ):
        with pytest.raises(Invalid, match="64 bits"):
            check_json(body)


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 400_000, b'"' * 800_001, b'"\\' * 400_000])
def test_texts_without_an_end_are_passed_over_once(body: bytes) -> None:
    began_s = time.process_time()
    check_json(b"[]" * 100 + body)
    assert time.process_time() - began_s < 10
