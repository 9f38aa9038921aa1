"""Which tokens are issued."""

import pytest

from service.errors import Invalid
from tests.service.auth.actions import Actions


def test_only_known_roles_are_issued(actions: Actions) -> None:
    with pytest.raises(Invalid):
        actions.issue(role="service")
    assert actions.published == 0
