"""Identifiers: random, prefixed, and made by a function that is passed in."""

import secrets
from collections.abc import Callable

NewId = Callable[[str], str]
"""Makes a fresh identifier from a prefix such as `task`."""


def random_id(prefix: str) -> str:
    """Return `<prefix>_<24 hex digits>`: 96 random bits, enough never to meet twice."""
    return f"{prefix}_{secrets.token_hex(12)}"
