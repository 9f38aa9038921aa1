"""When a token is accepted, decided without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.credentials import judge, parse_token
from service.auth.refusals import Refusal
from service.keys import hash_secret
from tests.service.auth.records import ACTOR, NEW, OLD, record


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
