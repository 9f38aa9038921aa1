"""Idempotency-Key: a POST that is sent again has its effect once, and is answered as before.

A key belongs to one actor and one route. It is written down before the handler runs and completed
with what came of it afterwards: done, with the answer; certainly not done, and the key is forgotten; or unknown. A
request that may have had its effect, because the server failed, its answer was lost or a crash came between, is
`interrupted`: refused from then on, never run again. What cannot be written down at once is known to this process
and written later; a key ends with `retention.idempotency_days`. Answers with a secret in them are never written down: those are refused when they are asked for again.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import apsw
import msgspec
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPResponseStartEvent,
    Message,
    Receive,
    Scope,
    Send,
)

from service.auth.credentials import Actor
from service.auth.roles import Role, permits
from service.clock import Clock
from service.errors import (
    Conflict,
    Invalid,
    Unavailable,
    Unprocessable,
)
from service.http.bodies import read_body, replayed
from service.http.guards import REQUIRED
from service.http.problems import NOTHING_DONE, send_refusal, unknown_outcome
from service.query import select_one
from service.reliability.tracing import Trace, trace_of
from service.storage import Storage
from service.storage.lanes import going_ahead

HIDDEN: Final = "answers_with_secret"
SECRET: Final[dict[str, object]] = {HIDDEN: True}
"""For the `opt` of a handler whose answer must not be stored."""
_AHEAD: Final = "goes_ahead"
AHEAD: Final[dict[str, object]] = {_AHEAD: True}
"""For the `opt` of a handler that decides or calls off: its writes, those about its key included, wait for no others."""

_LOG: Final = logging.getLogger("sonia.gateway")
_NO_KEY: Final = "Idempotency-Key has between 1 and 255 visible ASCII characters"
_HEADER: Final = b"idempotency-key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_REPLAYED: Final = (b"idempotent-replayed", b"true")


class Entry(msgspec.Struct, frozen=True):
    """What is known of a key. `state`: in_flight, done, secret or interrupted."""

    payload_sha256: str
    state: str
    status: int | None = None
    headers: str | None = None
    body: bytes | None = None


class Slot(msgspec.Struct, frozen=True):
    """Where a key is kept."""

    actor_id: str
    route: str
    key: str


INTERRUPTED: Final = (
    "the first request was interrupted: it may have had its effect; look before trying again"
)


class Kept(msgspec.Struct):
    """An answer while it is being given."""

    status: int = 0
    headers: list[tuple[str, str]] = []
    body: bytes = b""


def find(connection: apsw.Connection, slot: Slot) -> Entry | None:
    """Read what is known of a key."""
    where = "FROM idempotency WHERE actor_id = ? AND route = ? AND key = ?"
    return select_one(connection, Entry, where, (slot.actor_id, slot.route, slot.key))


def begin(
    connection: apsw.Connection, slot: Slot, payload_sha256: str, now_ms: int
) -> Entry | None:
    """Write the key down and return None, or return what is known of it already."""
    known = find(connection, slot)
    if known is not None:
        return known
    connection.execute(
        "INSERT INTO idempotency (actor_id, route, key, payload_sha256, state, created_at_ms)"
        " VALUES (?, ?, ?, ?, 'in_flight', ?)",
        (slot.actor_id, slot.route, slot.key, payload_sha256, now_ms),
    )
    return None


def entry_of(
    kept: Kept, payload_sha256: str, *, secret: bool, nothing_done: bool = False
) -> Entry | None:
    """What is to be known of a key after its answer; None when it is forgotten, as certainly nothing was done. Pure.

    An answer of `secret` success is not kept itself; a server error that does not say that nothing was done leaves
    it open what was.
    """
    if kept.status >= 500 or not kept.status:
        return None if nothing_done else Entry(payload_sha256, "interrupted")
    if secret and kept.status < 400:
        return Entry(payload_sha256, "secret", kept.status)
    headers = msgspec.json.encode(kept.headers).decode()
    return Entry(payload_sha256, "done", kept.status, headers, kept.body)


def complete(connection: apsw.Connection, slot: Slot, entry: Entry | None) -> None:
    """Write down what came of a key, or forget it."""
    where = (slot.actor_id, slot.route, slot.key)
    if entry is None:
        connection.execute(
            "DELETE FROM idempotency WHERE actor_id = ? AND route = ? AND key = ?", where
        )
        return
    connection.execute(
        "UPDATE idempotency SET state = ?, status = ?, headers = ?, body = ?"
        " WHERE actor_id = ? AND route = ? AND key = ?",
        (entry.state, entry.status, entry.headers, entry.body, *where),
    )


def settle(connection: apsw.Connection) -> None:
    """At start-up: what was in flight is interrupted for good."""
    connection.execute("UPDATE idempotency SET state = 'interrupted' WHERE state = 'in_flight'")


class Known(msgspec.Struct, frozen=True):
    """All that decides whether the request with a key is a new one."""

    payload_sha256: str
    state: str


MALFORMED: Final = "malformed"
GONE: Final = "gone"


async def _unknown() -> Known | None:
    return None


async def recall(
    trace: Trace, payload_sha256: str, find: Callable[[], Awaitable[Known | None]] = _unknown
) -> bool:
    """Decide whether a request with a key is a new one: a stage of the trace.

    `payload_sha256` is MALFORMED where the key is none, GONE where whoever asked is. Raises Invalid, Conflict and
    Unprocessable; False where it is answered as before, or not at all.
    """
    trace.envelope["idempotency"] = payload_sha256
    with trace.stage("idempotency") as stage:
        if payload_sha256 == MALFORMED:
            raise Invalid(_NO_KEY)
        if payload_sha256 == GONE:
            stage.decide("cancelled")
            return False
        known = await trace.ask("key", find, Known | None)
        if known is None:
            stage.decide("begun")
            return True
        judge(known, payload_sha256)
        stage.decide("replayed")
        return False


def judge(known: Known | Entry, payload_sha256: str) -> None:
    """Decide whether what is known can be answered again. Raises Conflict and Unprocessable. Pure."""
    if known.payload_sha256 != payload_sha256:
        raise Unprocessable("the key was used with another request", "idempotency_key_reused")
    match known.state:
        case "done":
            return
        case "in_flight":
            raise Conflict("the first request is still running", "request_in_flight", 1000)
        case "secret":
            raise Conflict("the answer held a secret, which is shown once", "secret_not_repeated")
        case _:
            raise Conflict(INTERRUPTED, "outcome_unknown")


def key_of(scope: Scope) -> str | None:
    """Return the request's key, or None. Raises Invalid for one that is none."""
    found = [value for name, value in scope["headers"] if name == _HEADER]
    if not found:
        return None
    # Several keys become one with a space in it, which is none.
    key = b", ".join(found).decode("latin-1")
    if not _KEY.fullmatch(key):
        raise Invalid(_NO_KEY)
    return key


def permitted(scope: Scope) -> Actor | None:
    """The caller of a POST that its role allows. None of all others: guards come later and refuse for themselves."""
    if scope["type"] != ScopeType.HTTP or scope["method"] != "POST":
        return None
    required = scope["route_handler"].opt.get(REQUIRED)
    if not isinstance(required, Role):
        return None
    actor: Actor = scope["user"]
    return actor if permits(actor.role, required) else None


class Idempotency:
    """Middleware behind authentication, for POST. It remembers and replays only what the caller's role permits."""

    def __init__(self, app: ASGIApp, storage: Storage, clock: Clock, max_body_bytes: int) -> None:
        self._app = app
        self._storage = storage
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._owed: dict[Slot, Entry] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request, or answer it as it was answered before."""
        http = scope["type"] == ScopeType.HTTP
        with going_ahead(http and bool(scope["route_handler"].opt.get(_AHEAD))):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor = permitted(scope)
        trace = trace_of(scope)
        try:
            key = None if actor is None else key_of(scope)
        except Invalid:
            await recall(trace, MALFORMED)
            raise
        if actor is None or key is None:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive, self._max_body_bytes)
        if body is None:
            await recall(trace, GONE)
            return
        slot = Slot(actor.id, scope["path_template"], key)
        payload_sha256 = digest(scope, body)
        known: list[Entry | None] = []

        async def find() -> Known | None:
            entry = self._owed.get(slot) or await self._begin(slot, payload_sha256)
            known.append(entry)
            return None if entry is None else Known(entry.payload_sha256, entry.state)

        if not await recall(trace, payload_sha256, find):
            await replay(known[0] or Entry(payload_sha256, "done"), send)
            return
        kept = Kept()
        # Whatever ends it, a cancellation included: until it is known what came of it, it may be anything.
        entry: Entry | None = Entry(payload_sha256, "interrupted")
        try:
            await self._app(scope, replayed(body, receive), keeping(kept))
            secret = bool(scope["route_handler"].opt.get(HIDDEN))
            nothing_done = bool(scope["state"].get(NOTHING_DONE))
            entry = entry_of(kept, payload_sha256, secret=secret, nothing_done=nothing_done)
        except Exception:  # noqa: BLE001 - see below
            # Nobody behind here answers errors any more: an answer may have begun, if only into `kept`.
            _LOG.exception("request %s failed", scope["state"]["request_id"])
            kept = Kept()
        finally:
            await self._write_down(slot, entry)
        if kept.status:
            await give(kept, send)
        else:
            unknown = unknown_outcome(str(scope["state"]["request_id"]))
            await send_refusal(scope, receive, send, unknown)

    async def _begin(self, slot: Slot, payload_sha256: str) -> Entry | None:
        run = partial(begin, slot=slot, payload_sha256=payload_sha256, now_ms=self._clock.now_ms())
        beginning = asyncio.ensure_future(self._storage.do(run))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            # Nothing was done yet: a key that is written down all the same is forgotten.
            beginning.add_done_callback(partial(self._give_up, slot))
            raise

    def _give_up(self, slot: Slot, beginning: "asyncio.Future[Entry | None]") -> None:
        if not beginning.cancelled() and not beginning.exception() and beginning.result() is None:
            self._storage.do_later(partial(complete, slot=slot, entry=None), lambda: None)

    async def _write_down(self, slot: Slot, entry: Entry | None) -> None:
        """Write down what came of a key; when that fails, this process knows it until it is written."""
        if entry is not None:
            self._owed[slot] = entry
        run = partial(complete, slot=slot, entry=entry)
        written = False
        try:
            await self._storage.do(run)
            written = True
        except (Unavailable, apsw.Error) as error:
            _LOG.warning("what came of a key is written down later: %s", error)
        finally:
            if written:
                self._forget(slot)
            else:
                self._storage.do_later(run, partial(self._forget, slot))

    def _forget(self, slot: Slot) -> None:
        self._owed.pop(slot, None)


def digest(scope: Scope, body: bytes) -> str:
    """The hash of what makes two requests the same: path, query and body."""
    parts = (scope["path"].encode(), scope["query_string"], body)
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def keeping(kept: Kept) -> Send:
    """Return a `send` that collects the answer."""

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept.status = message["status"]
            kept.headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message["headers"]
            ]
        elif message["type"] == "http.response.body":
            kept.body += message["body"]

    return keep


async def give(kept: Kept, send: Send, *extra: tuple[bytes, bytes]) -> None:
    """Send a collected answer."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers]
    start: HTTPResponseStartEvent = {
        "type": "http.response.start",
        "status": kept.status,
        "headers": [*headers, *extra],
    }
    await send(start)
    await send({"type": "http.response.body", "body": kept.body, "more_body": False})


async def replay(known: Entry, send: Send) -> None:
    """Send the answer that was given before, marked as such."""
    headers = msgspec.json.decode(known.headers or "[]", type=list[tuple[str, str]])
    await give(Kept(known.status or 200, headers, known.body or b""), send, _REPLAYED)
