"""When a token is accepted, decided without a database."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.registry import (
    Actor,
    EpochFile,
    Presented,
    Refusal,
    Registry,
    Secret,
    TokenRecord,
    judge,
    parse_token,
)
from service.auth.roles import Role, permits
from service.keys import hash_secret

ACTOR = Actor("tok_1", "operator", "alice")
OLD, NEW = hash_secret("old"), hash_secret("new")


def record(**changes: object) -> TokenRecord:
    fields: dict[str, object] = {
        "actor": ACTOR,
        "expires_at_ms": None,
        "revoked_at_ms": None,
        "secrets": (Secret(NEW, None), Secret(OLD, 1000)),
    }
    return TokenRecord(**{**fields, **changes})  # type: ignore[arg-type]


def test_both_secrets_work_inside_the_window_and_one_after_it() -> None:
    assert judge(record(), OLD, 999) == ACTOR
    assert judge(record(), OLD, 1000) is Refusal.EXPIRED
    assert judge(record(), NEW, 1000) == ACTOR


def test_a_token_is_over_from_the_millisecond_it_expires() -> None:
    assert judge(record(expires_at_ms=500), NEW, 499) == ACTOR
    assert judge(record(expires_at_ms=500), NEW, 500) is Refusal.EXPIRED


def test_revoking_ends_both_secrets_whatever_the_window() -> None:
    assert judge(record(revoked_at_ms=1), NEW, 2) is Refusal.REVOKED
    assert judge(record(revoked_at_ms=1), OLD, 2) is Refusal.REVOKED


def test_unknown_and_wrong_are_told_apart_only_inside() -> None:
    assert judge(None, NEW, 0) is Refusal.UNKNOWN
    assert judge(record(), hash_secret("neW"), 0) is Refusal.WRONG_SECRET


@pytest.mark.parametrize("text", [b"", b".", b"a.", b".b", b"abc", b"tok_1"])
def test_what_is_not_id_and_secret_is_malformed(text: bytes) -> None:
    assert parse_token(text) is None


@given(st.binary(min_size=1, max_size=80))
def test_any_bytes_can_be_presented(token: bytes) -> None:
    presented = parse_token(token)
    assert presented is None or judge(record(), presented.sha256, 0) is Refusal.WRONG_SECRET


@pytest.mark.parametrize("actor", ["", "root", "public", "Operator", "operator "])
@pytest.mark.parametrize("required", Role)
def test_a_role_nobody_knows_permits_nothing(actor: str, required: Role) -> None:
    assert not permits(actor, required)


def test_roles_permit_what_the_design_says() -> None:
    permitted = {
        (actor, required) for actor in Role for required in Role if permits(actor, required)
    }
    assert permitted == {
        ("operator", "operator"),
        ("operator", "observer"),
        ("observer", "observer"),
        ("service", "service"),
    }


class Tokens:
    """A source of records that can change."""

    def __init__(self) -> None:
        self.records = {"tok_1": record(secrets=(Secret(NEW, None),))}
        self.loads = 0

    def load(self) -> dict[str, TokenRecord]:
        self.loads += 1
        return self.records


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def epoch(tmp_path: Path) -> EpochFile:
    return EpochFile(tmp_path / "epoch")


PRESENTED = Presented("tok_1", NEW)


def test_what_is_remembered_does_not_outlive_a_change(tokens: Tokens, epoch: EpochFile) -> None:
    registry = Registry(epoch, tokens.load)
    assert registry.recall(b"tok_1.new") is None
    assert registry.verify(PRESENTED, 0) == ACTOR
    registry.remember(b"tok_1.new", PRESENTED, ACTOR)
    assert registry.recall(b"tok_1.new") == ACTOR
    tokens.records = {"tok_1": record(revoked_at_ms=1)}
    registry.invalidate()
    assert registry.recall(b"tok_1.new") is None
    assert registry.verify(PRESENTED, 2) is Refusal.REVOKED
    registry.remember(b"tok_1.new", Presented("tok_1", OLD), ACTOR)
    assert registry.recall(b"tok_1.new") is None


def test_a_change_by_another_process_is_seen_at_once(
    tokens: Tokens, epoch: EpochFile, tmp_path: Path
) -> None:
    registry = Registry(epoch, tokens.load)
    registry.remember(b"tok_1.new", PRESENTED, ACTOR)
    assert registry.recall(b"tok_1.new") == ACTOR
    tokens.records = {}
    EpochFile(tmp_path / "epoch").bump()
    assert registry.recall(b"tok_1.new") is None
    assert registry.verify(PRESENTED, 0) is Refusal.UNKNOWN


def test_nothing_is_read_while_nothing_changes(tokens: Tokens, epoch: EpochFile) -> None:
    registry = Registry(epoch, tokens.load)
    for _ in range(5):
        registry.verify(PRESENTED, 0)
    assert tokens.loads == 1


def test_what_has_an_end_is_not_remembered(tokens: Tokens, epoch: EpochFile) -> None:
    tokens.records = {"tok_1": record(expires_at_ms=100)}
    registry = Registry(epoch, tokens.load)
    registry.remember(b"tok_1.new", PRESENTED, ACTOR)
    assert registry.recall(b"tok_1.new") is None
    tokens.records = {"tok_1": record()}
    registry.invalidate()
    assert registry.verify(Presented("tok_1", OLD), 99) == ACTOR
    registry.remember(b"tok_1.old", Presented("tok_1", OLD), ACTOR)
    assert registry.recall(b"tok_1.old") is None
    registry.remember(b"tok_1.new", PRESENTED, ACTOR)
    assert registry.recall(b"tok_1.new") == ACTOR


def test_an_epoch_file_of_another_size_is_made_right(tmp_path: Path) -> None:
    path = tmp_path / "epoch"
    path.write_bytes(b"1")
    epoch = EpochFile(path)
    before = epoch.count[0]
    epoch.bump()
    assert epoch.count[0] != before
    assert path.stat().st_size == 8
