"""Policies over HTTP."""

import re
from typing import Annotated, Final

import apsw
import msgspec
from litestar import Response, put, route
from litestar.params import FromPath, HeaderParameter, JSONBody

from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.domain.policies import records
from service.domain.policies.records import Decision, Policy
from service.effects import Effect
from service.errors import Invalid, PreconditionRequired
from service.http.guards import require_role
from service.http.paging import Page
from service.http.routing import READ
from service.query import select

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match")]
_ETAG: Final = re.compile(r'"([0-9]{1,18})"')


class NewPolicy(msgspec.Struct, frozen=True):
    """What to decide from now on."""

    decision: Decision


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
        return records.set_policy(connection, name, data.decision, expected, call.origin())

    policy = await call.storage.change(call.cause("policy.set", name), replace)
    return Response(policy, headers={"ETag": f'"{policy.version}"'})


HANDLERS = [list_policies, set_policy]
