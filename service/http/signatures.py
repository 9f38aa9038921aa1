"""How one process knows another: each request and each answer is signed, and no secret travels.

The form is that of RFC 9421 (HTTP Message Signatures) with hmac-sha256 and RFC 9530 (Content-Digest), in one spelling only:
what is written otherwise is refused. A request's signature covers its method, path, query, body, time and nonce, and is
good once. An answer's covers its status, its body and the signature that it answers, with another key, so that neither
can stand for the other. Neither names a host, so that both hold through a proxy. `created` is in milliseconds of the
host's monotonic clock, which all its processes share and nobody can set.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from service.keys import Link

WINDOW_MS: Final = 30_000
MOST_NONCES: Final = 65_536
"""A caller that asks more often than so many times in WINDOW_MS shortens the time that a signature is good for."""

_NONCE_BYTES: Final = 18
_DIGEST: Final = b"content-digest"
_INPUT: Final = b"signature-input"
_SIGNATURE: Final = b"signature"
_READ: Final = frozenset({_DIGEST, _INPUT, _SIGNATURE})
_ASKED: Final = '("@method" "@path" "@query" "content-digest")'
_ANSWERED: Final = '("@status" "content-digest" "signature";req;key="sonia")'


class Signature(msgspec.Struct, frozen=True):
    """A request's signature, as its headers tell it."""

    value: bytes
    digest: bytes
    created_ms: int
    nonce: bytes


class Used:
    """Which signatures were presented: each is good once, for WINDOW_MS, and not if it is older than this object.

    It holds at most MOST_NONCES; what is as old as one that had to be forgotten is refused.
    """

    def __init__(self, now_ms: int) -> None:
        self._after_ms = now_ms
        self._seen: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, nonce: bytes, created_ms: int, now_ms: int) -> bool:
        """Use up a signature; False when it is used, stale, or of a time that has not come."""
        self._after_ms = max(self._after_ms, now_ms - WINDOW_MS)
        if not self._after_ms < created_ms <= now_ms or nonce in self._seen:
            return False
        self._seen[nonce] = created_ms
        self._forget()
        return True

    def _forget(self) -> None:
        while self._seen:
            oldest, created_ms = next(iter(self._seen.items()))
            if created_ms > self._after_ms:
                if len(self._seen) <= MOST_NONCES:
                    return
                self._after_ms = created_ms
            del self._seen[oldest]


class Signer:
    """The caller's end of `link`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._key_id = f"{link.caller}-{link.server}"
        self._answer_params = _answer_params(link)
        self._answer_input = f"sonia={self._answer_params.decode()}"

    def sign(self, method: str, target: str, body: bytes) -> dict[str, str]:
        """The headers by which the server of the link knows a request; `target` is its path and query as they are sent."""
        digest = _digest(body)
        params = (
            f'{_ASKED};created={monotonic_ms()};nonce="{secrets.token_urlsafe(_NONCE_BYTES)}"'
            f';alg="hmac-sha256";keyid="{self._key_id}"'
        ).encode()
        path, _, query = target.partition("?")
        base = _request_base(method.encode(), path.encode(), query.encode(), digest, params)
        return {
            "Content-Digest": digest.decode(),
            "Signature-Input": f"sonia={params.decode()}",
            "Signature": f"sonia={_mac(self._link.requests, base).decode()}",
        }

    def holds(
        self, asked: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Whether an answer is the server's, to the request with the headers `asked`."""
        digest = _digest(body)
        value = _answer_value(
            self._link.answers,
            self._answer_params,
            asked["Signature"].removeprefix("sonia=").encode(),
            status,
            digest,
        )
        return (
            headers.get("content-digest", "").encode() == digest
            and headers.get("signature-input") == self._answer_input
            and hmac.compare_digest(headers.get("signature", "").encode(), b"sonia=" + value)
        )


class Verifier:
    """The server's end of `link`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._used = Used(monotonic_ms())
        self._answer_params = _answer_params(link)
        self._answer_input = b"sonia=" + self._answer_params
        key_id = re.escape(f"{link.caller}-{link.server}")
        self._input = re.compile(
            rf'sonia=({re.escape(_ASKED)};created=([0-9]{{1,15}});nonce="([A-Za-z0-9_-]{{24}})"'
            rf';alg="hmac-sha256";keyid="{key_id}")'.encode()
        )

    def read(
        self, method: str, path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]]
    ) -> Signature | None:
        """The signature of a head, when it is one by the link's key. It is not used up, and the body was not seen."""
        found = [each for each in headers if each[0] in _READ]
        told = dict(found)
        if len(found) != len(_READ) or len(told) != len(_READ):
            return None
        written = self._input.fullmatch(told[_INPUT])
        if written is None:
            return None
        params, created, nonce = written.groups()
        base = _request_base(method.encode(), path, query, told[_DIGEST], params)
        value = _mac(self._link.requests, base)
        if not hmac.compare_digest(told[_SIGNATURE], b"sonia=" + value):
            return None
        return Signature(value, told[_DIGEST], int(created), nonce)

    def use(self, signature: Signature, body: bytes) -> bool:
        """Whether `body` is what was signed, and the signature is good; it is so once."""
        return _digest(body) == signature.digest and self._used.take(
            signature.nonce, signature.created_ms, monotonic_ms()
        )

    def sign(self, signature: Signature, status: int, body: bytes) -> list[tuple[bytes, bytes]]:
        """The headers by which the caller knows the answer to what it has signed."""
        digest = _digest(body)
        value = _answer_value(
            self._link.answers, self._answer_params, signature.value, status, digest
        )
        return [
            (_DIGEST, digest),
            (_INPUT, self._answer_input),
            (_SIGNATURE, b"sonia=" + value),
        ]


def monotonic_ms() -> int:
    """The host's monotonic clock."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000


def _request_base(method: bytes, path: bytes, query: bytes, digest: bytes, params: bytes) -> bytes:
    return (
        b'"@method": %b\n"@path": %b\n"@query": ?%b\n"content-digest": %b\n"@signature-params": %b'
        % (method, path, query, digest, params)
    )


def _answer_params(link: Link) -> bytes:
    return f'{_ANSWERED};alg="hmac-sha256";keyid="{link.server}-{link.caller}"'.encode()


def _answer_value(key: bytes, params: bytes, asked: bytes, status: int, digest: bytes) -> bytes:
    base = (
        b'"@status": %d\n"content-digest": %b\n"signature";req;key="sonia": %b\n"@signature-params": %b'
        % (status, digest, asked, params)
    )
    return _mac(key, base)


def _digest(body: bytes) -> bytes:
    return b"sha-256=:%b:" % base64.b64encode(hashlib.sha256(body).digest())


def _mac(key: bytes, base: bytes) -> bytes:
    return b":%b:" % base64.b64encode(hmac.digest(key, base, "sha256"))
