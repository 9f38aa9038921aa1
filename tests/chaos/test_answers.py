"""What an answer is recorded as, and read as."""

import gzip
import zlib

import duckdb
import msgspec
import pytest

from chaos.answers import (
    MAX_BODY_BYTES,
    body_column,
    content,
    document,
    header_text,
    headers_column,
    is_plain,
)

JSON = '{"ok":true,"name":"é"}'.encode()
GZIP = gzip.compress(JSON, mtime=0)
BARE = zlib.compressobj(wbits=-15)
BOMB = gzip.compress(bytes(3 * MAX_BODY_BYTES), mtime=0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'{"a":\r\n "b"}\n', {"a": "b"}),
        ('{"a":"é"}'.encode(), {"a": "é"}),
        (b"", None),
        (b"plain\ntext", "plain\ntext"),
        (b'{"a":NaN}', '{"a":NaN}'),
        (b'"\xff"', '"\ufffd"'),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_a_body_becomes_one_line(body: bytes, expected: object) -> None:
    line = body_column(body)
    assert b"\n" not in line
    assert b"\r" not in line
    assert msgspec.json.decode(line) == expected


def test_repeated_headers_are_joined() -> None:
    headers = [("Set-Cookie", "a=1"), ("X", "y"), ("set-cookie", "b=2")]
    assert msgspec.json.decode(headers_column(headers)) == {"set-cookie": "a=1, b=2", "x": "y"}


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b'{"status":"failed","status":"ok"}', "$.status", "failed"),
        (b'{"a":{"b":1,"b":2},"a":{"b":3}}', "$.a.b", 1),
        (b'[{"a":1,"a":2}]', "$[0].a", 1),
        (b'{"a":"x","A":"y"}', "$.a", "x"),
    ],
)
def test_of_a_repeated_key_the_first_is_read_by_all(
    body: bytes, path: str, expected: object
) -> None:
    column = body_column(body)
    assert column == body
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT json_extract_string(?::json, ?)", [column.decode(), path]
        ).fetchone()
    assert found is not None
    [judged] = found
    assert judged == str(expected)
    read = document(body)
    for key in path.removeprefix("$").replace("[0]", ".0").strip(".").split("."):
        assert isinstance(read, dict | list)
        read = read[int(key)] if isinstance(read, list) else read[key]
    assert read == expected


@pytest.mark.parametrize("body", [b"1.0", b"1e3", b"123456789012345678901234567890", b'"\\u0041"'])
def test_an_answer_keeps_its_spelling(body: bytes) -> None:
    assert body_column(body) == body


def test_what_is_too_long_for_a_number_is_text() -> None:
    assert document(b"9" * 5000) == "9" * 5000


@pytest.mark.parametrize(
    ("body", "codings", "kept", "remarks"),
    [
        (JSON, [], JSON, []),
        (JSON, ["identity"], JSON, []),
        (GZIP, ["gzip"], JSON, ["the body was gzip, and is recorded decoded"]),
        (GZIP, ["x-gzip"], JSON, ["the body was x-gzip, and is recorded decoded"]),
        (zlib.compress(JSON), ["deflate"], JSON, ["the body was deflate, and is recorded decoded"]),
        (
            BARE.compress(JSON) + BARE.flush(),
            ["deflate"],
            JSON,
            ["the body was deflate, and is recorded decoded"],
        ),
        (
            gzip.compress(zlib.compress(JSON), mtime=0),
            ["deflate", "gzip"],
            JSON,
            [
                "the body was gzip, and is recorded decoded",
                "the body was deflate, and is recorded decoded",
            ],
        ),
        (JSON, ["gzip"], JSON, ["the body is said to be gzip, and is recorded as it came"]),
        (JSON, ["br"], JSON, ["the body is said to be br, and is recorded as it came"]),
        (
            BOMB,
            ["gzip"],
            bytes(MAX_BODY_BYTES),
            [
                "the body was gzip, and is recorded decoded",
                f"the body was cut after {MAX_BODY_BYTES} bytes",
            ],
        ),
        (b"\xef\xbb\xbf" + JSON, [], JSON, ["a byte order mark before the body was left out"]),
        (
            b"caf\xe9",
            [],
            b"caf\xe9",
            ["the body is not UTF-8: what cannot be read is recorded as U+FFFD"],
        ),
    ],
)
def test_what_is_not_kept_as_it_came_is_said(
    body: bytes, codings: list[str], kept: bytes, remarks: list[str]
) -> None:
    assert content(body, codings) == (kept, remarks)
    assert is_plain(body) or remarks


def test_what_was_cut_within_a_character_is_only_cut() -> None:
    assert content("aé".encode()[:-1], (), 7) == (b"a\xc3", ["the body was cut: 7 bytes more"])
    half = GZIP[: len(GZIP) // 2]
    assert content(half, ["gzip"], 7)[1][1] == "the body was gzip, and is recorded decoded"
    assert content(half, ["gzip"])[0] == half


@pytest.mark.parametrize(
    ("value", "text", "remark"),
    [
        (b"plain", "plain", None),
        ("Zürich, 東京".encode(), "Zürich, 東京", "the header x is not ASCII, and read as UTF-8"),
        (b"Z\xfcrich", "Zürich", "the header x is not ASCII, and read as Latin-1"),
    ],
)
def test_headers_are_text_of_some_kind(value: bytes, text: str, remark: str | None) -> None:
    assert header_text("x", value) == (text, remark)
