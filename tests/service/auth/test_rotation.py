"""When secrets end: by a rotation, and by revoking their token."""

import pytest

from service.errors import Conflict, NotFound
from tests.service.auth.actions import NOW, Actions


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
