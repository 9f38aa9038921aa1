"""Policies: for each safety class of tools, whether it runs, asks first, or never runs."""

from typing import Literal

import apsw
import msgspec

from service.effects import Effect, Origin
from service.errors import NotFound, PreconditionFailed
from service.jsontypes import Json
from service.query import require_one

Decision = Literal["allow", "confirm", "deny"]


class Policy(msgspec.Struct, frozen=True):
    """One policy. `version` is also its ETag, in quotes."""

    name: str
    decision: Decision
    version: int
    updated_at_ms: int


def find(connection: apsw.Connection, name: str) -> Policy:
    """Read one policy. Raises NotFound."""
    rest = "FROM policies WHERE name = ?"
    return require_one(connection, Policy, rest, (name,), f"policy {name}")


def decision(connection: apsw.Connection, safety_class: str) -> Decision:
    """What is decided for `safety_class`; a class without a policy is denied."""
    try:
        return find(connection, safety_class).decision
    except NotFound:
        return "deny"


def set_policy(
    connection: apsw.Connection, name: str, to: Decision, expected_version: int, origin: Origin
) -> Effect[Policy]:
    """Replace a policy that is still at `expected_version`. Raises NotFound and PreconditionFailed."""
    before = find(connection, name)
    if before.version != expected_version:
        raise PreconditionFailed(f"the policy {name} is at version {before.version}")
    connection.execute(
        "UPDATE policies SET decision = ?, version = version + 1, updated_at_ms = ?,"
        " request_id = ? WHERE name = ?",
        (to, origin.now_ms, origin.request_id, name),
    )
    after = find(connection, name)
    detail: dict[str, Json] = {
        "from": before.decision,
        "to": after.decision,
        "version": after.version,
    }
    return Effect(after, "policies", name, detail)
