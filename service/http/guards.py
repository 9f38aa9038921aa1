"""Litestar guards: every handler names the role it asks for, or says that it is for everybody.

    @post("/tasks", guards=[require_role(Role.OPERATOR)])
    @get("/healthz", opt=PUBLIC)

Who calls is known before: authentication stands in front of all handlers.
"""

from typing import Final, TypeAlias

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from service.auth.credentials import Actor
from service.auth.roles import Role, permits
from service.errors import Forbidden
from service.http.denials import refuse_role
from service.reliability.tracing import Trace, trace_of

EVERYBODY: Final = "public"
PUBLIC: Final[dict[str, object]] = {EVERYBODY: True}
"""For the `opt` of a handler that everybody may use."""

REQUIRED: Final = "required role"
"""Where a handler's `opt` holds what `requirement` found at start-up."""

REFUSED: Final = "refused actor"
"""Where the state of a connection holds whom a guard refused, for authentication to answer."""

Connection: TypeAlias = "ASGIConnection[object, object, object, object]"


class RoleGuard:
    """Lets callers pass whose role satisfies `role`. Async, as Litestar runs other guards in a thread."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, connection: Connection, _: BaseRouteHandler) -> None:
        """Raise Forbidden unless the role of `connection.user` is enough."""
        actor: Actor = connection.scope["user"]
        try:
            authorize(trace_of(connection.scope), actor, self.role)
        except Forbidden:
            connection.scope["state"][REFUSED] = actor
            raise


def authorize(trace: Trace, actor: Actor, required: Role) -> None:
    """Decide whether the role of `actor` is enough: a stage of the trace. Raises Forbidden."""
    with trace.stage("authorize") as stage:
        if not permits(actor.role, required):
            denial = refuse_role(actor)
            raise Forbidden(denial.detail, denial.code)
        stage.decide("admitted")


def require_role(role: Role) -> RoleGuard:
    """The guard of a handler that asks for `role`."""
    return RoleGuard(role)


def requirement(handler: BaseRouteHandler) -> Role | str | None:
    """The one role that the guards of a handler ask for, EVERYBODY, or None where it is not exactly one of them."""
    declared: list[Role | str] = [
        guard.role for guard in handler.resolve_guards() if isinstance(guard, RoleGuard)
    ]
    if handler.opt.get(EVERYBODY):
        declared.append(EVERYBODY)
    return declared[0] if len(declared) == 1 else None
