"""Roles, and which of them may use a route that asks for one.

Every handler declares one of PUBLIC, OBSERVER or OPERATOR as its `opt`; a handler without a
declaration keeps the gateway from starting.
"""

from typing import Final

ROLE_KEY: Final = "role"

PUBLIC: Final[dict[str, object]] = {ROLE_KEY: "public"}
OBSERVER: Final[dict[str, object]] = {ROLE_KEY: "observer"}
OPERATOR: Final[dict[str, object]] = {ROLE_KEY: "operator"}
SERVICE: Final[dict[str, object]] = {ROLE_KEY: "service"}

DECLARABLE: Final = frozenset({"public", "observer", "operator", "service"})
ISSUABLE: Final = ("operator", "observer")

ADMITTED: Final[dict[object, frozenset[str]]] = {
    "observer": frozenset({"observer", "operator"}),
    "operator": frozenset({"operator"}),
}
"""For each role a route may ask for, the roles that satisfy it. What is not listed is refused."""

_NOBODY: Final[frozenset[str]] = frozenset()


def permits(actor_role: str, required_role: object) -> bool:
    """Say whether an actor of `actor_role` may use a route that asks for `required_role`.

    A role nobody has heard of, on either side, permits nothing.
    """
    return actor_role in ADMITTED.get(required_role, _NOBODY)
