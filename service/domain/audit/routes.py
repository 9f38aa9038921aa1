"""The audit log over HTTP, whether it is intact, and what has happened since."""

from functools import partial
from typing import Annotated, Final

import apsw
import msgspec
from litestar import route
from litestar.params import QueryParameter

from service.audit.chain import AuditEntry
from service.audit.verify import AuditReport, verify_audit
from service.auth.roles import Role
from service.domain.call import InjectedCall
from service.http.guards import require_role
from service.http.paging import Cursor, Limit, Page, read_page
from service.http.routing import READ
from service.query import select

MAX_SEQ: Final = 10**18
"""More than any row has, and a number that JSON keeps."""
After = Annotated[int, QueryParameter(name="after", ge=0, le=MAX_SEQ)]


class Event(msgspec.Struct, frozen=True):
    """Something that changed: `type` is the audit row's action, `table` and `id` what it changed."""

    seq: int
    at_ms: int
    type: str
    table: str
    id: str
    actor_id: str
    request_id: str


STEP_ROWS: Final = 2000
"""How many rows of the log are looked through at once: a few milliseconds."""

_EVENTS: Final = """
    FROM (SELECT *, action AS type, effect_table AS "table", effect_id AS id FROM audit)
    WHERE seq > ? AND seq <= ? AND effect_table IS NOT NULL ORDER BY seq LIMIT ?
"""


@route("/v1/audit", http_method=READ, guards=[require_role(Role.OBSERVER)], sync_to_thread=False)
def list_audit(call: InjectedCall, limit: Limit = 50, cursor: Cursor = None) -> Page[AuditEntry]:
    """List audit rows, oldest first."""
    return call.storage.read(
        lambda connection: read_page(connection, AuditEntry, "audit", limit, cursor)
    )


@route("/v1/audit/verify", http_method=READ, guards=[require_role(Role.OBSERVER)])
async def verify(call: InjectedCall) -> AuditReport:
    """Check the whole chain and all checkpoints."""
    check = partial(
        verify_audit,
        checkpoints_path=call.services.state.checkpoints,
        keys=call.services.keys.audit_keys(),
        archive=call.services.state.archive,
    )
    return await call.services.verification.ask(partial(call.storage.read_apart, check))


@route("/v1/events", http_method=READ, guards=[require_role(Role.OBSERVER)])
async def list_events(call: InjectedCall, after: After = 0, limit: Limit = 50) -> Page[Event]:
    """List what changed after the event numbered `after`, in order."""
    search = Search(after, limit)
    if not call.storage.read(search.step):
        # Few of the next rows are about effects. The rest is looked through beside the requests, one search at a time.
        async with call.services.searches:
            await call.storage.read_apart(search.finish)
    following = str(search.events[-1].seq) if len(search.events) == limit else None
    return Page(tuple(search.events), following)


class Search:
    """Events of the log, found step by step, so that nobody who waits for the database waits for long."""

    def __init__(self, after: int, limit: int) -> None:
        self.events: list[Event] = []
        self._after = after
        self._limit = limit

    def step(self, connection: apsw.Connection) -> bool:
        """Look through the next rows; return whether that was all, or enough."""
        newest = connection.execute("SELECT max(seq) FROM audit").get or 0
        until = min(self._after + STEP_ROWS, newest)
        wanted = self._limit - len(self.events)
        self.events += select(connection, Event, _EVENTS, (self._after, until, wanted))
        self._after = until
        return len(self.events) == self._limit or until >= newest

    def finish(self, connection: apsw.Connection) -> None:
        """Look through all rows that are left, or as many as are needed."""
        while not self.step(connection):
            pass


HANDLERS = [list_audit, verify, list_events]
