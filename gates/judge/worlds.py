"""The evidence of a run as it was observed, and changed by a rule: what assertions are evaluated over."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from gates.judge import tables
from gates.judge.binding import Bound
from gates.judge.plan import AssertPlan, GatePlan

Change = Callable[[str, str, dict[str, str]], str]
"""Other rows as SQL: from the rows, the name of their table and the types of its columns."""


class World(Struct, frozen=True):
    """What stands in the place of each evidence table: SQL over its rows, given its name and the types of its columns.

    Where only some tables are `changed`, the others are as observed, and so are the queries that read none of them.
    """

    name: str
    change: Change
    changed: frozenset[str] | None = None

    def touches(self, reads: frozenset[str]) -> bool:
        """Whether what reads these tables may find something else in this world."""
        return self.changed is None or not self.changed.isdisjoint(reads)


OBSERVED = World("observed", lambda rows, *_: rows)
EMPTY = World("empty", lambda rows, *_: f"FROM ({rows}) LIMIT 0")
TWICE = World(
    "twice",
    lambda rows, *_: f"FROM ({rows}) UNION ALL (SELECT * REPLACE (-1 - seq AS seq) FROM ({rows}))",
)
TURNED = World("turned", lambda rows, *_: f"FROM ({rows}) ORDER BY seq DESC")
HALF = World("half", lambda rows, *_: f"FROM ({rows}) WHERE seq % 2 = 0")


def before(world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound) -> str:
    """The WITH clause that shows a world to the SQL of some assertions."""
    return clause(named(world, plans, gate, bound))


def clause(queries: Mapping[str, str]) -> str:
    """A WITH clause, empty without any queries; their names are quoted already."""
    parts = [f"{name} AS ({sql}\n)" for name, sql in queries.items()]
    return f"WITH {', '.join(parts)} " if parts else ""


def named(
    world: World, plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound
) -> dict[str, str]:
    """What stands in such a clause: the tables that the assertions read, and the queries that they rest on over them.

    What is kept needs not be named as it was observed.
    """
    reads = sorted(frozenset().union(*(plan.reads for plan in plans)))
    if world is OBSERVED:
        found = {name: bound.tables[name].rows for name in reads if not bound.tables[name].kept}
    else:
        wanted = {query.name for plan in plans for query in gate.behind(plan)}
        asked = [query for query in gate.queries if query.name in wanted]
        found = {
            name: _changed(world, name, bound)
            for name in reads
            if world.touches(frozenset([name])) or not bound.tables[name].kept
        }
        found |= {query.name: query.text for query in asked if world.touches(query.reads)}
    return {tables.quoted(name): sql for name, sql in found.items()}


def whole(plan: AssertPlan, bound: Bound) -> str:
    """The WITH clause that shows all columns of the table that an assertion is about."""
    table = bound.tables.get(plan.relation)
    return clause({tables.quoted(plan.relation): table.whole} if table else {})


def _changed(world: World, name: str, bound: Bound) -> str:
    table = bound.tables[name]
    rows = f"FROM temp.{tables.quoted(name)}" if table.kept else table.rows
    if not world.touches(frozenset([name])):
        return rows
    return world.change(rows, name, bound.columns[name])
