"""What a role permits."""

import pytest

from service.auth.roles import Role, permits


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
