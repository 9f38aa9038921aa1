"""Roles, and which of them satisfy what a route asks for."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a route may ask for. `SERVICE` is the gateway towards the processes behind it."""

    OBSERVER = "observer"
    OPERATOR = "operator"
    SERVICE = "service"


ISSUABLE: Final = (Role.OPERATOR, Role.OBSERVER)

ADMITTED: Final[Mapping[Role, frozenset[str]]] = {
    Role.OBSERVER: frozenset({Role.OBSERVER, Role.OPERATOR}),
    Role.OPERATOR: frozenset({Role.OPERATOR}),
    Role.SERVICE: frozenset({Role.SERVICE}),
}
"""For each role a route may ask for, the roles that satisfy it. What is not listed is refused."""


def permits(actor_role: str, required: Role) -> bool:
    """Say whether an actor of `actor_role`, which may be a word that nobody knows, satisfies `required`."""
    return actor_role in ADMITTED[required]
