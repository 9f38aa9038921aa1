"""Tokens over HTTP: issue, list, rotate, revoke. A secret is shown once and never again."""

from functools import partial
from typing import Annotated, Final

import msgspec
from litestar import Response, delete, post, route
from litestar.params import FromPath, JSONBody

from service.auth import rotation, tokens
from service.auth.roles import Role
from service.domain.call import Call, InjectedCall
from service.http.guards import require_role
from service.http.idempotency import AHEAD, SECRET
from service.http.paging import MAX_LIMIT, Cursor, Limit, Page, read_page
from service.http.routing import READ

_NO_STORE: Final = {"Cache-Control": "no-store"}
Name = Annotated[str, msgspec.Meta(max_length=100)]
TtlS = Annotated[float, msgspec.Meta(gt=0, le=315_360_000)]
WindowS = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class IssueRequest(msgspec.Struct, frozen=True):
    """A new token. Without `ttl_s` it does not expire."""

    role: str
    name: Name = ""
    ttl_s: TtlS | None = None


class RotateRequest(msgspec.Struct, frozen=True):
    """How long the old secret still works; absent: as configured."""

    window_s: WindowS | None = None


def change_of(call: Call) -> tokens.Change:
    """What this call contributes to an operation on a token."""
    return tokens.Change(call.now_ms(), call.request_id, call.services.registry.invalidate)


@post("/v1/tokens", guards=[require_role(Role.OPERATOR)], opt=SECRET)
async def issue_token(call: InjectedCall, data: JSONBody[IssueRequest]) -> Response[tokens.Issued]:
    """Issue a token."""
    new = tokens.NewToken(
        data.role, data.name, None if data.ttl_s is None else round(data.ttl_s * 1000)
    )
    run = partial(
        tokens.issue,
        new=new,
        secret=call.services.new_secret(),
        new_id=call.services.new_id,
        change=change_of(call),
    )
    issued = await call.storage.change(call.cause("token.issue"), run)
    return Response(issued, headers={"Location": f"/v1/tokens/{issued.id}", **_NO_STORE})


@post(
    "/v1/tokens/{token_id:str}/rotate",
    guards=[require_role(Role.OPERATOR)],
    opt=SECRET,
    status_code=200,
)
async def rotate_token(
    call: InjectedCall, token_id: FromPath[str], data: JSONBody[RotateRequest | None] = None
) -> Response[tokens.Issued]:
    """Give a token a new secret; the old one works until the window ends."""
    window_s = data.window_s if data is not None else None
    if window_s is None:
        window_s = call.services.settings.auth.rotation_window_s
    run = partial(
        rotation.rotate,
        token_id=token_id,
        window_ms=round(window_s * 1000),
        secret=call.services.new_secret(),
        change=change_of(call),
    )
    issued = await call.storage.change(call.cause("token.rotate", token_id), run)
    return Response(issued, headers=_NO_STORE)


@delete("/v1/tokens/{token_id:str}", guards=[require_role(Role.OPERATOR)], opt=AHEAD)
async def revoke_token(call: InjectedCall, token_id: FromPath[str]) -> None:
    """End a token and all its secrets, at once."""
    run = partial(rotation.revoke, token_id=token_id, change=change_of(call))
    await call.storage.change(call.cause("token.revoke", token_id), run)


@route("/v1/tokens", http_method=READ, guards=[require_role(Role.OBSERVER)])
async def list_tokens(
    call: InjectedCall, limit: Limit = MAX_LIMIT, cursor: Cursor = None
) -> Page[tokens.Token]:
    """List tokens, oldest first, those that are over included."""
    query, bindings = tokens.listing(call.now_ms())
    # To number them all of them are read.
    return await call.storage.read_apart(
        lambda connection: read_page(connection, tokens.Token, query, limit, cursor, bindings)
    )


HANDLERS = [issue_token, list_tokens, rotate_token, revoke_token]
