"""What a gate's assertions come to once they are parsed and checked: the plan that is run on evidence."""

import re
from functools import cache
from typing import Literal

from msgspec import Struct

from chaos.evidence import schema
from gates.judge.comparator import Comparator
from gates.judge.leaves import Leaf, Split
from gates.judge.problem import Problem, Text
from gates.spec.assertion import Assertion, Judged

Test = Literal["every", "none", "share", "value"]


class Quantile(Struct, frozen=True):
    """A percentile with an upper limit, which is judged by how many rows are slower."""

    quantile: float
    argument: str


class AssertPlan(Struct, frozen=True):
    """One assertion, ready to be run.

    `source` is its `from`, `relation` the table or query it names; `expression` its predicate or value.
    `leaf_sql` are the leaves of `split`, `rewritten` the expression over them; `where_leaves` are those that its `where` has
    besides, `where_rewritten` is the `where` over both, `true` without one. `inputs` hold one condition
    per aggregate that takes no NULL; `guards` are floating-point expressions that must be finite;
    `uses` are the relations it names, `reads` all tables behind them; `names` are all words in it that could be
    columns, None where it takes all that there are; `about` the steps and loads that its `where` names, empty where
    that is open. `ordered` says that something in it depends on the order of rows, `constants` are all that are in
    its text.
    """

    assertion: Assertion
    where: str
    test: Test
    source: str
    relation: str
    expression: str
    comparator: Comparator | None
    quantile: Quantile | None
    split: Split
    leaf_sql: tuple[str, ...]
    rewritten: str
    where_leaves: tuple[Leaf, ...]
    where_leaf_sql: tuple[str, ...]
    where_rewritten: str
    inputs: tuple[str, ...]
    guards: tuple[str, ...]
    uses: frozenset[str]
    reads: frozenset[str]
    names: frozenset[str] | None
    about: frozenset[str]
    ordered: bool
    constants: tuple[tuple[str, str], ...]

    @property
    def is_count(self) -> bool:
        """Whether it is the number of rows and nothing else."""
        return self.test == "value" and re.sub(r"[\s()*]", "", self.expression.lower()) == "count"

    @property
    def where_constrains(self) -> bool:
        """Whether its `where` speaks of what its expression does."""
        return any(f"leaf_{index}" in self.where_words for index in range(len(self.split.leaves)))

    @property
    def where_words(self) -> frozenset[str]:
        """The words of its `where` over leaves."""
        return frozenset(re.findall(r"leaf_\d+", self.where_rewritten))


class QueryPlan(Struct, frozen=True):
    """One query of `with:`: the relations it reads directly, all tables behind it, its words, its order and the constants in it."""

    name: str
    text: str
    at_least: int
    uses: frozenset[str]
    reads: frozenset[str]
    names: frozenset[str] | None
    ordered: bool
    constants: tuple[tuple[str, str], ...]


class GatePlan(Struct, frozen=True):
    """All of a gate. `asserts` has None for an assertion that cannot be run; `problems` say why; `hints` are no problems.

    `texts` are what its SQL compares with columns of evidence.

    Gates with the same `text` have the same plan.
    """

    text: bytes
    judged: Judged
    queries: tuple[QueryPlan, ...]
    asserts: tuple[AssertPlan | None, ...]
    problems: tuple[Problem, ...]
    hints: tuple[Problem, ...] = ()
    texts: tuple[Text, ...] = ()

    def tables(self) -> frozenset[str]:
        """All evidence tables that are read."""
        of_queries = [query.reads for query in self.queries]
        return frozenset().union(*of_queries, *(plan.reads for plan in self.asserts if plan))

    def needed(self, table: str) -> list[str]:
        """The columns of an evidence table that anything of the gate could read; `seq` is always one of them."""
        columns = evidence_tables(self.judged)[table]
        readers = [own for own in (*self.queries, *self.asserts) if own and table in own.uses]
        words: set[str] = {"seq"}
        for reader in readers:
            if reader.names is None:
                return list(columns)
            words |= reader.names
        return [column for column in columns if column.lower() in words]

    def behind(self, plan: AssertPlan) -> list[QueryPlan]:
        """The queries that an assertion rests on, in the order in which they are written."""
        wanted = set(plan.uses)
        for query in reversed(self.queries):
            if query.name in wanted:
                wanted |= query.uses
        return [query for query in self.queries if query.name in wanted]

    def problems_of(self, index: int) -> list[Problem]:
        """The problems of one assertion, and of what all assertions share."""
        return [
            p
            for p in self.problems
            if p.where.split(".")[:2] == ["assert", str(index)] or is_shared(p)
        ]


def is_shared(problem: Problem) -> bool:
    """Whether a problem belongs to no single assertion."""
    return not problem.where.startswith("assert.")


@cache
def _sealed() -> dict[str, dict[str, str]]:
    return {name: schema.sealed_columns(name) for name in schema.sealed_tables()}


def evidence_tables(judged: Judged) -> dict[str, dict[str, str]]:
    """Every table that a gate's SQL may read, with its columns and their types."""
    return _sealed() | {
        name: schema.collected_columns(columns) for name, columns in judged.collected.items()
    }
