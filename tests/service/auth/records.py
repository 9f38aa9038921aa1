"""A token with two secrets, and what its tests call them."""

from service.auth.credentials import Actor, Secret, TokenRecord
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
