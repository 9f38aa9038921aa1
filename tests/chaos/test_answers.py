"""What an answer is recorded as, and read as."""

import duckdb
import msgspec
import pytest

from chaos.answers import body_column, document, headers_column


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
