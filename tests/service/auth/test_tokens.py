"""Which tokens are issued, and how they are listed."""

import pytest

from service.auth import tokens
from service.errors import Invalid
from service.http.paging import Page, read_page
from tests.service.auth.actions import NOW, Actions


def test_only_known_roles_are_issued(actions: Actions) -> None:
    with pytest.raises(Invalid):
        actions.issue(role="service")
    assert actions.published == 0


def page(actions: Actions, now_ms: int, limit: int, cursor: str | None) -> Page[tokens.Token]:
    query, bindings = tokens.listing(now_ms)
    return actions.control.storage.read(
        lambda connection: read_page(connection, tokens.Token, query, limit, cursor, bindings)
    )


def test_tokens_are_listed_in_pages_with_how_many_secrets_are_live(actions: Actions) -> None:
    new = (("first", None), ("second", 10), ("third", 5000), ("fourth", None))
    made = [actions.issue(NOW + n, ttl, secret=name) for n, (name, ttl) in enumerate(new)]
    actions.rotate(made[0], "fifth", NOW + 5)
    actions.revoke(made[3], NOW + 6)
    for at_ms in (NOW + 10, NOW + 11, NOW + 1004, NOW + 1005, NOW + 5002):
        found: list[tokens.Token] = []
        cursor = None
        while not found or cursor is not None:
            paged = page(actions, at_ms, 2, cursor)
            assert len(paged.items) <= 2
            found += paged.items
            cursor = paged.next_cursor
        listed = [each for each in found if each.source == "issued"]
        assert [each.id for each in listed] == made
        live = [len(actions.live(each, at_ms)) for each in made]
        assert [each.live_secrets for each in listed] == live
        whole = actions.control.storage.read(lambda db, at=at_ms: tokens.list_all(db, at))  # type: ignore[misc]
        assert whole == found
