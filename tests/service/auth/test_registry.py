"""Tokens in memory: what is remembered of them, and for how long."""

from pathlib import Path

import pytest

from service.auth.credentials import Presented, Secret, TokenRecord
from service.auth.epoch import EpochFile
from service.auth.refusals import Refusal
from service.auth.registry import Registry
from tests.service.auth.records import ACTOR, NEW, OLD, record


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
