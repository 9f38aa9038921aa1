"""Policies: for each safety class of tools, whether it runs, asks first, or never runs."""

import re
from typing import Annotated, Final, Literal

import apsw
import msgspec
from litestar import Response, put, route
from litestar.params import FromPath, HeaderParameter, JSONBody

from service.auth.roles import Role
from service.errors import Invalid, NotFound, PreconditionFailed, PreconditionRequired
from service.gateway.call import InjectedCall
from service.http.guards import require_role
from service.http.paging import Page
from service.http.routing import READ
from service.jsontypes import Json
from service.storage import Effect
from service.storage.query import select, select_one

Decision = Literal["allow", "confirm", "deny"]
IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
_ETAG: Final = re.compile(r'"([0-9]{1,18})"')


class NewPolicy(msgspec.Struct, frozen=True):
    """What to decide from now on."""

    decision: Decision


class Policy(msgspec.Struct, frozen=True):
    """One policy. `version` is also its ETag, in quotes."""

    name: str
    decision: Decision
    version: int
    updated_at_ms: int


def find(connection: apsw.Connection, name: str) -> Policy:
    """Read one policy. Raises NotFound."""
    policy = select_one(connection, Policy, "FROM policies WHERE name = ?", (name,))
    if policy is None:
        raise NotFound(f"there is no policy {name}")
    return policy


def decision(connection: apsw.Connection, safety_class: str) -> Decision:
    """What is decided for `safety_class`; a class without a policy is denied."""
    try:
        return find(connection, safety_class).decision
    except NotFound:
        return "deny"


def required_version(if_match: str | None) -> int:
    """Read If-Match as a version. Raises PreconditionRequired and Invalid."""
    if if_match is None:
        raise PreconditionRequired("If-Match must name the version that is to be replaced")
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid("If-Match holds one ETag as it was given out")
    return int(found[1])


@route("/v1/policies", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_policies(call: InjectedCall) -> Page[Policy]:
    """List all policies."""
    found = call.storage.read(
        lambda connection: select(connection, Policy, "FROM policies ORDER BY name")
    )
    return Page(tuple(found), None)


@put("/v1/policies/{name:str}", guards=[require_role(Role.OPERATOR)])
async def set_policy(
    call: InjectedCall, name: FromPath[str], data: JSONBody[NewPolicy], if_match: IfMatch = None
) -> Response[Policy]:
    """Replace a policy that is still at the version If-Match names."""
    expected = required_version(if_match)

    def replace(connection: apsw.Connection) -> Effect[Policy]:
        before = find(connection, name)
        if before.version != expected:
            raise PreconditionFailed(f"the policy {name} is at version {before.version}")
        connection.execute(
            "UPDATE policies SET decision = ?, version = version + 1, updated_at_ms = ?,"
            " request_id = ? WHERE name = ?",
            (data.decision, call.now_ms(), call.request_id, name),
        )
        after = find(connection, name)
        detail: dict[str, Json] = {
            "from": before.decision,
            "to": after.decision,
            "version": after.version,
        }
        return Effect(after, "policies", name, detail)

    policy = await call.storage.change(call.cause("policy.set", name), replace)
    return Response(policy, headers={"ETag": f'"{policy.version}"'})


HANDLERS = [list_policies, set_policy]
