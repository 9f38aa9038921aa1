"""`query`: read-only SQL on a copy of a state file whose writers have stopped."""

from chaos.engine.files import database_copy, open_elsewhere, select, table_digests
from chaos.engine.scope import ExpectationFailed, Scope
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Query(Step, frozen=True, kw_only=True):
    """`query: "{state}/control.db"` with `sql`, or with `digests: true` for one row per table.

    A digest row is `{table, rows, sha256}`; `without` names tables that are left out. Rows stand in `rows`
    under the step's name; `capture` sees them as `$.rows[0].column`.
    """

    query: str
    sql: str | None = None
    digests: bool = False
    without: list[str] = []

    def problem(self) -> str | None:
        """One question at a time."""
        both_or_none = (self.sql is not None) == self.digests
        return "`query` needs either `sql` or `digests: true`" if both_or_none else None


async def run(step: Query, scope: Scope) -> None:
    """Copy, open the copy, record every row."""
    path = scope.readable(step.query)
    if holders := open_elsewhere(path):
        raise HarnessError(
            f"{path.name} is open in process {holders[0]}: stop its writers first, or use `watch` on a live file"
        )
    with database_copy(path) as connection:
        if step.sql is not None:
            rows = select(connection, scope.variables.text(step.sql))
        else:
            rows = table_digests(connection, map(scope.variables.text, step.without))
    for row in rows:
        scope.recorder.add(
            schema.QueryRow,
            query=scope.step_name(step),
            vars=as_json(scope.row_vars),
            snapshot=0,
            row=as_json(row),
            queried_ms=scope.clock.now_ms(),
        )
    missing = scope.capture(step, {"rows": rows})
    if missing is not None:
        raise ExpectationFailed(missing)


KIND = Kind(
    "query", Query, run, captures=True, paths={"query": "read"}, records={"rows.query": "name"}
)
