"""What operations on tokens leave in the database."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from service.auth import tokens
from service.auth.registry import Actor, load_record
from service.control import Control, open_control
from service.effects import system_cause
from service.errors import Conflict, Invalid, NotFound
from service.keys import hash_secret, load_keys
from tests.service.running import State

NOW = 10_000


@pytest.fixture
def control(state: State) -> Iterator[Control]:
    opened = open_control(state.directory)
    yield opened
    opened.close()


class Actions:
    """Does things to tokens at a time that is given."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.published = 0
        self._numbers = count(1)

    def _published(self) -> None:
        self.published += 1

    def change(self, now_ms: int) -> tokens.Change:
        return tokens.Change(now_ms, "req_test", self._published)

    def do(self, run: Callable[..., object]) -> object:
        cause = system_cause("test", "token.test", "req_test")
        return self.control.storage.change_now(cause, run)  # type: ignore[arg-type]

    def issue(self, now_ms: int = NOW, ttl_ms: int | None = None, role: str = "operator") -> str:
        new = tokens.NewToken(role, "alice", ttl_ms)
        issued = self.do(
            lambda connection: tokens.issue(
                connection,
                new,
                "first",
                lambda prefix: f"{prefix}_{next(self._numbers)}",
                self.change(now_ms),
            )
        )
        assert isinstance(issued, tokens.Issued)
        return issued.id

    def rotate(self, token_id: str, secret: str, now_ms: int, window_ms: int = 1000) -> None:
        self.do(
            lambda connection: tokens.rotate(
                connection, token_id, window_ms, secret, self.change(now_ms)
            )
        )

    def revoke(self, token_id: str, now_ms: int) -> None:
        self.do(lambda connection: tokens.revoke(connection, token_id, self.change(now_ms)))

    def live(self, token_id: str, now_ms: int) -> list[str]:
        record = self.control.storage.read(lambda connection: load_record(connection, token_id))
        assert record is not None
        return [
            name
            for name in ("first", "second", "third", "fourth")
            if isinstance(tokens.judge(record, hash_secret(name), now_ms), Actor)
        ]


@pytest.fixture
def actions(control: Control) -> Actions:
    return Actions(control)


def test_rotation_keeps_the_old_secret_for_the_window_only(actions: Actions) -> None:
    token_id = actions.issue()
    actions.rotate(token_id, "second", NOW + 5)
    assert actions.live(token_id, NOW + 1004) == ["first", "second"]
    assert actions.live(token_id, NOW + 1005) == ["second"]


def test_never_more_than_two_secrets_are_live(actions: Actions) -> None:
    token_id = actions.issue()
    actions.rotate(token_id, "second", NOW)
    actions.rotate(token_id, "third", NOW)
    assert actions.live(token_id, NOW) == ["second", "third"]
    actions.rotate(token_id, "fourth", NOW)
    assert actions.live(token_id, NOW) == ["third", "fourth"]


def test_a_later_rotation_does_not_extend_an_earlier_window(actions: Actions) -> None:
    token_id = actions.issue()
    actions.rotate(token_id, "second", NOW, window_ms=100)
    actions.rotate(token_id, "third", NOW + 50, window_ms=10_000)
    assert actions.live(token_id, NOW + 100) == ["second", "third"]


def test_a_window_of_nothing_ends_the_old_secret_at_once(actions: Actions) -> None:
    token_id = actions.issue()
    actions.rotate(token_id, "second", NOW, window_ms=0)
    assert actions.live(token_id, NOW) == ["second"]


def test_rotation_does_not_prolong_a_token(actions: Actions) -> None:
    token_id = actions.issue(ttl_ms=500)
    actions.rotate(token_id, "second", NOW + 400)
    assert actions.live(token_id, NOW + 500) == []


def test_what_is_over_cannot_be_rotated_or_revoked(actions: Actions) -> None:
    expired = actions.issue(ttl_ms=500)
    with pytest.raises(Conflict):
        actions.rotate(expired, "second", NOW + 500)


def test_what_is_revoked_cannot_be_rotated_or_revoked_again(actions: Actions) -> None:
    revoked = actions.issue()
    actions.revoke(revoked, NOW)
    with pytest.raises(Conflict):
        actions.rotate(revoked, "second", NOW)
    with pytest.raises(Conflict):
        actions.revoke(revoked, NOW)
    with pytest.raises(NotFound):
        actions.revoke("tok_none", NOW)


def test_revoking_ends_every_secret(actions: Actions) -> None:
    token_id = actions.issue()
    actions.rotate(token_id, "second", NOW, window_ms=60_000)
    actions.revoke(token_id, NOW + 1)
    assert actions.live(token_id, NOW + 1) == []


def test_only_known_roles_are_issued(actions: Actions) -> None:
    with pytest.raises(Invalid):
        actions.issue(role="service")
    assert actions.published == 0


def test_the_key_file_ends_bootstrap_tokens_and_revives_none(
    state: State, control: Control
) -> None:
    from service.auth.bootstrap import compare

    listed = load_keys(state.directory.keys).tokens
    storage = control.storage
    assert storage.read(lambda c: compare(listed, c, NOW)).adopt == ()
    gone = storage.read(lambda c: compare(listed[:1], c, NOW))
    assert gone.revoke == (listed[1].id,)
    shortened = tuple(_with_end(token, 5) for token in listed)
    assert storage.read(lambda c: compare(shortened, c, NOW)).shorten == shortened
    actions = Actions(control)
    actions.revoke(listed[0].id, NOW)
    after = storage.read(lambda c: compare(listed, c, NOW))
    assert (after.adopt, after.shorten, after.revoke) == ((), (), ())


def _with_end(token: object, expires_at_ms: int) -> object:
    import msgspec

    return msgspec.structs.replace(token, expires_at_ms=expires_at_ms)  # type: ignore[type-var]
