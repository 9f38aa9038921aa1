"""What is signed between processes, and how long and how often a signature is good."""

import asyncio
import base64
import hashlib
import hmac
from typing import Any

import pytest

from service.http import signatures
from service.http.client import (
    BadAnswer,
    HttpAnswer,
    HttpLimits,
    HttpRequest,
    Progress,
    SignedClient,
)
from service.http.signatures import MOST_NONCES, WINDOW_MS, Signer, Used, Verifier
from service.keys import generate_link

LINK = generate_link("gateway", "memory")
BODY = b'{"text": "hello"}'
PATH, QUERY = b"/internal/memories", b"a=1&b"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The monotonic clock's reading, which a test may set."""
    reading = [1_000_000]
    monkeypatch.setattr(signatures, "monotonic_ms", lambda: reading[0])
    return reading


def as_received(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def test_the_form_is_that_of_the_rfc(clock: list[int]) -> None:
    """RFC 9421, sections 2.5 and 3.3.3; RFC 9530 for the digest."""
    headers = Signer(LINK).sign("POST", "/internal/memories?a=1&b", BODY)
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    assert headers["Content-Digest"] == f"sha-256=:{digest}:"
    params = headers["Signature-Input"].removeprefix("sonia=")
    assert params.startswith(
        '("@method" "@path" "@query" "content-digest");created=1000000;nonce="'
    )
    assert params.endswith('";alg="hmac-sha256";keyid="gateway-memory"')
    base = "\n".join(
        [
            '"@method": POST',
            '"@path": /internal/memories',
            '"@query": ?a=1&b',
            f'"content-digest": sha-256=:{digest}:',
            f'"@signature-params": {params}',
        ]
    )
    value = base64.b64encode(hmac.digest(LINK.requests, base.encode(), "sha256")).decode()
    assert headers["Signature"] == f"sonia=:{value}:"
    assert clock == [1_000_000]


def used_at(clock: list[int], made_ms: int, presented_ms: int, start_ms: int = 0) -> bool:
    clock[0] = start_ms
    verifier = Verifier(LINK)
    clock[0] = made_ms
    headers = as_received(Signer(LINK).sign("POST", "/internal/memories?a=1&b", BODY))
    clock[0] = presented_ms
    found = verifier.read("POST", PATH, QUERY, headers)
    assert found is not None
    return verifier.use(found, BODY)


@pytest.mark.parametrize(
    ("made_ms", "presented_ms", "start_ms", "good"),
    [
        (10, 10, 0, True),
        (10, 9 + WINDOW_MS, 0, True),
        (10, 10 + WINDOW_MS, 0, False),
        (11, 10, 0, False),
        (11, 11, 10, True),
        (10, 11, 10, False),
    ],
)
def test_a_signature_is_good_for_a_while_and_not_before_its_reader_was_there(
    clock: list[int], made_ms: int, presented_ms: int, start_ms: int, good: bool
) -> None:
    assert used_at(clock, made_ms, presented_ms, start_ms) is good


def test_a_signature_is_good_once(clock: list[int]) -> None:
    verifier = Verifier(LINK)
    clock[0] += 1
    headers = as_received(Signer(LINK).sign("POST", "/internal/memories?a=1&b", BODY))
    found = verifier.read("POST", PATH, QUERY, headers)
    assert found is not None
    # Another body under it is refused, and does not use it up.
    assert not verifier.use(found, BODY + b" ")
    assert [verifier.use(found, BODY) for _ in range(3)] == [True, False, False]


def test_what_is_remembered_is_bounded_and_nothing_forgotten_is_good_again() -> None:
    used, now_ms = Used(0), WINDOW_MS
    for number in range(MOST_NONCES + 3):
        assert used.take(b"%d" % number, 1 + number // 3, now_ms)
    assert len(used) == MOST_NONCES
    assert not any(used.take(b"%d" % number, 1 + number // 3, now_ms) for number in range(9))
    assert not used.take(b"new", 1, now_ms)
    assert used.take(b"new", 2, now_ms)
    # All that is over is let go of.
    assert used.take(b"later", 3 * WINDOW_MS, 3 * WINDOW_MS)
    assert len(used) == 1


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", PATH, QUERY),
        ("POST", PATH + b"/", QUERY),
        ("POST", PATH, b"a=1"),
        ("POST", PATH, b""),
    ],
)
def test_method_path_and_query_are_signed(method: str, path: bytes, query: bytes) -> None:
    headers = as_received(Signer(LINK).sign("POST", "/internal/memories?a=1&b", BODY))
    assert Verifier(LINK).read("POST", PATH, QUERY, headers) is not None
    assert Verifier(LINK).read(method, path, query, headers) is None


@pytest.mark.parametrize("other", ["another key", "the keys swapped", "another process"])
def test_each_key_is_of_one_direction_of_one_link(other: str) -> None:
    link = {
        "another key": generate_link("gateway", "memory"),
        "the keys swapped": type(LINK)(2, "gateway", "memory", LINK.answers, LINK.requests),
        "another process": type(LINK)(2, "gateway", "tools", LINK.requests, LINK.answers),
    }[other]
    headers = Signer(link).sign("POST", "/internal/memories?a=1&b", BODY)
    assert Verifier(LINK).read("POST", PATH, QUERY, as_received(headers)) is None


class Answering:
    """A pool that answers whatever it is asked as `change` makes it, once it was signed."""

    def __init__(self, change: str) -> None:
        self.change = change
        self.verifier = Verifier(LINK)

    async def exchange(self, _: str, request: HttpRequest, __: Progress) -> HttpAnswer:
        headers = as_received(dict(request.headers))
        found = self.verifier.read("GET", b"/internal/ready", b"", headers)
        assert found is not None
        signed = {k.decode(): v.decode() for k, v in self.verifier.sign(found, 200, BODY)}
        answers = {
            "nothing": HttpAnswer(200, signed, BODY),
            "no signature": HttpAnswer(200, {}, BODY),
            "another body": HttpAnswer(200, signed, BODY + b" "),
            "another status": HttpAnswer(403, signed, BODY),
        }
        return answers[self.change]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ("nothing", True),
        ("no signature", False),
        ("another body", False),
        ("another status", False),
    ],
)
def test_a_client_takes_signed_answers_only(change: str, right: bool) -> None:
    async def ask() -> bytes:
        client = SignedClient("http://127.0.0.1:9", LINK, HttpLimits())
        pool: Any = Answering(change)
        client._kept = client._single = pool
        request = HttpRequest("GET", "/internal/ready", 20.0)
        return (await client.send(request)).body

    if right:
        assert asyncio.run(ask()) == BODY
        return
    with pytest.raises(BadAnswer, match="memory has not signed") as refused:
        asyncio.run(ask())
    assert refused.value.sent


def test_an_answer_belongs_to_one_request() -> None:
    verifier, signer = Verifier(LINK), Signer(LINK)
    one, other = (signer.sign("GET", "/internal/ready", b"") for _ in range(2))
    found = verifier.read("GET", b"/internal/ready", b"", as_received(one))
    assert found is not None
    signed = {k.decode(): v.decode() for k, v in verifier.sign(found, 200, BODY)}
    assert signer.holds(one, 200, signed, BODY)
    assert not signer.holds(other, 200, signed, BODY)
    # What the caller signs with signs no answer.
    swapped = Verifier(type(LINK)(2, "gateway", "memory", LINK.requests, LINK.requests))
    forged = {k.decode(): v.decode() for k, v in swapped.sign(found, 200, BODY)}
    assert not signer.holds(one, 200, forged, BODY)
