"""Authentication without a network: what it leaves on disk, and what it asks of a handler."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.audit.denied import DeniedAttempts
from service.auth.credentials import Actor, Secret, TokenRecord
from service.auth.epoch import EpochFile
from service.auth.registry import Registry
from service.auth.roles import Role
from service.clock import Clock, MarkFile
from service.http.authentication import Authentication
from service.http.crowds import AT_ONCE, Crowds
from service.http.guards import REQUIRED
from service.keys import hash_secret

EXPIRES_AT_MS = 1_000_050


class Quiet:
    """An audit log that keeps what it is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[Any, Any]] = []

    def note(self, cause: Any, detail: Any) -> None:
        self.noted.append((cause, detail))


class Desk:
    """Authentication before a handler, at a time that is set by hand."""

    def __init__(self, directory: Path) -> None:
        self.wall_ms = 1_000_000
        self.passed = 0
        self.opens: asyncio.Event | None = None
        self.mark = directory / "mark"
        file = MarkFile(self.mark)
        file.create(self.wall_ms)
        clock = Clock(file, self.wall_ms, lambda: self.wall_ms * 1_000_000, lambda: 0)
        record = TokenRecord(
            Actor("tok_1", "operator", ""), EXPIRES_AT_MS, None, (Secret(hash_secret("s"), None),)
        )
        endless = TokenRecord(
            Actor("tok_3", "operator", ""), None, None, (Secret(hash_secret("s"), None),)
        )
        observers = [
            TokenRecord(Actor(name, "observer", ""), None, None, (Secret(hash_secret("s"), None),))
            for name in ("tok_4", "tok_5")
        ]
        self.records = [record, endless, *observers]
        self.registry = Registry(
            EpochFile(directory / "epoch"), lambda: {each.actor.id: each for each in self.records}
        )
        self.log = Quiet()
        denied = DeniedAttempts(self.log, clock, 1000)  # type: ignore[arg-type]
        self.door = Authentication(self._handle, self.registry, clock, denied, Crowds(), True)

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed += 1
        if self.opens is not None:
            await self.opens.wait()

    async def ask(
        self, token: bytes | None, required: object, before: bytes = b"Bearer ", times: int = 1
    ) -> int:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        headers = [] if token is None else [(b"authorization", before + token)] * times
        scope: Any = {
            "type": "http",
            "method": "GET",
            "path": "/x",
            "path_template": "/x",
            "headers": headers,
            "state": {"request_id": "req_1"},
            "route_handler": SimpleNamespace(opt={REQUIRED: required}),
        }
        await self.door(scope, send, send)  # type: ignore[arg-type]
        return statuses[0] if statuses else 200


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ask(desk: Desk, token: bytes | None, required: object) -> int:
    return asyncio.run(desk.ask(token, required))


def test_the_refusal_of_an_expired_token_outlives_the_process(desk: Desk) -> None:
    desk.wall_ms = EXPIRES_AT_MS - 1
    assert ask(desk, b"tok_1.s", Role.OBSERVER) == 200
    desk.wall_ms = EXPIRES_AT_MS
    assert ask(desk, b"tok_1.s", Role.OBSERVER) == 401
    assert int(desk.mark.read_text()) >= EXPIRES_AT_MS


def test_a_handler_that_asks_for_nothing_admits_nobody(desk: Desk) -> None:
    assert ask(desk, b"tok_1.s", None) == 403
    assert ask(desk, None, None) == 401
    assert desk.passed == 0


def test_two_tokens_are_none(desk: Desk) -> None:
    assert asyncio.run(desk.ask(b"tok_3.s", Role.OBSERVER)) == 200
    assert asyncio.run(desk.ask(b"tok_3.s", Role.OBSERVER, times=2)) == 401
    assert desk.passed == 1


def test_of_a_token_one_spelling_is_remembered(desk: Desk) -> None:
    for before in (
        b"Bearer ",
        b"bearer ",
        b"BEARER ",
        *(b"Bearer" + b" " * n for n in range(2, 99)),
    ):
        assert asyncio.run(desk.ask(b"tok_3.s", Role.OBSERVER, before)) == 200
        assert asyncio.run(desk.ask(b"tok_3.s ", Role.OBSERVER, before)) == 200
    assert list(desk.registry._snapshot.found) == [b"Bearer tok_3.s"]


def test_only_the_log_is_told_why(desk: Desk) -> None:
    for token in (None, b"x", b"tok_2.s", b"tok_1.t"):
        assert ask(desk, token, Role.OBSERVER) == 401
    assert [str(detail["reason"]) for _, detail in desk.log.noted] == [
        "no_credentials",
        "malformed",
        "unknown",
        "wrong_secret",
    ]
    assert {cause.actor_id for cause, _ in desk.log.noted} == {"anonymous"}


def test_an_observer_waits_for_itself_and_nobody_else_does(desk: Desk) -> None:
    async def crowd() -> None:
        desk.opens = asyncio.Event()
        many = [
            asyncio.create_task(desk.ask(b"tok_4.s", Role.OBSERVER)) for _ in range(2 * AT_ONCE)
        ]
        await passed(AT_ONCE)
        others = [
            asyncio.create_task(desk.ask(token, Role.OBSERVER))
            for token in (b"tok_3.s", b"tok_5.s")
        ]
        await passed(AT_ONCE + 2)
        # Half of them wait; the token ends before they are served.
        desk.records = [each for each in desk.records if each.actor.id != "tok_4"]
        desk.registry.invalidate()
        desk.opens.set()
        assert await asyncio.gather(*others) == [200, 200]
        assert sorted(await asyncio.gather(*many)) == [200] * AT_ONCE + [401] * AT_ONCE

    async def passed(most: int) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        assert desk.passed == most

    asyncio.run(crowd())
