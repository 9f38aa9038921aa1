"""Assertions on their way to a plan: the parts of their text, and what can be read off their trees."""

from collections.abc import Container, Iterator, Sequence

from msgspec import Struct

from gates.judge import functions, syntax
from gates.judge.comparator import Comparator
from gates.judge.leaves import Leaf, Split
from gates.judge.plan import AssertPlan, Quantile, Test
from gates.judge.problem import Source
from gates.judge.syntax import Node
from gates.spec.assertion import Assertion

FROM, SELECT = "SELECT * FROM ", "SELECT "
_FLOATS = frozenset({"DOUBLE", "FLOAT", "REAL", "FLOAT4", "FLOAT8"})
_EMPTY: dict[str, object] = {
    "modifiers": [],
    "cte_map": {"map": []},
    "group_expressions": [],
    "group_sets": [],
    "aggregate_handling": "STANDARD_HANDLING",
}


class Parts(Struct):
    """The text of one assertion, taken apart."""

    assertion: Assertion
    where: str
    test: Test
    source: Source
    expression: Source
    comparator: Comparator | None = None
    is_query: Source | None = None

    def sources(self) -> list[Source]:
        """All that is SQL."""
        return [self.source, self.expression, *([self.is_query] if self.is_query else [])]


def is_free(name: str, taken: Container[str]) -> bool:
    """Whether a query or a table of `data:` may be called so; SQL does not tell capitals apart."""
    return name.isidentifier() and name == name.lower() and name not in taken


def not_free(name: str) -> str:
    """Why something cannot be called so."""
    if name.isidentifier() and name == name.lower():
        return f"there is another table {name}: call it otherwise"
    return f"{name!r} is no name: it takes lower-case letters, digits and underscores, and begins with no digit"


class Draft(Struct, frozen=True):
    """A checked assertion whose expressions are still trees."""

    parts: Parts
    relation: str
    expression: Node
    split: Split
    where_split: tuple[object, list[Leaf]]
    quantile: tuple[float, Node] | None
    inputs: list[list[Node]]
    guards: list[Node]
    uses: frozenset[str]
    reads: frozenset[str]
    names: frozenset[str] | None
    answered: tuple[str, ...]
    about: frozenset[str]
    ordered: bool
    constants: tuple[tuple[str, str], ...]

    def nodes(self) -> list[Node]:
        """What has to be written as text, in the order in which `finish` takes it."""
        quantile = [self.quantile[1]] if self.quantile else []
        leaf_nodes = [leaf.node for leaf in self.split.leaves]
        return [
            self.split.rewritten,
            *leaf_nodes,
            *self._where_nodes(),
            *quantile,
            *(n for group in self.inputs for n in group),
            *self.guards,
        ]

    def _where_nodes(self) -> list[Node]:
        rewritten, more = self.where_split
        where = [rewritten] if isinstance(rewritten, dict) and rewritten else []
        return [*where, *(leaf.node for leaf in more)]

    def finish(self, texts: Iterator[str]) -> AssertPlan:
        """The plan, with the texts of `nodes`."""
        rewritten = next(texts)
        leaf_sql = tuple(next(texts) for _ in self.split.leaves)
        where = next(texts) if self.where_split[0] else "true"
        more = tuple(self.where_split[1])
        where_sql = tuple(next(texts) for _ in more)
        quantile = Quantile(self.quantile[0], next(texts)) if self.quantile else None
        inputs = tuple(
            " AND ".join(f"({next(texts)}) IS NOT NULL" for _ in group) for group in self.inputs
        )
        guards = tuple(next(texts) for _ in self.guards)
        return AssertPlan(
            assertion=self.parts.assertion,
            where=self.parts.where,
            test=self.parts.test,
            source=self.parts.source.text,
            relation=self.relation,
            expression=self.parts.expression.text,
            comparator=self.parts.comparator,
            quantile=quantile,
            split=self.split,
            leaf_sql=leaf_sql,
            rewritten=rewritten,
            where_leaves=more,
            where_leaf_sql=where_sql,
            where_rewritten=where,
            inputs=inputs + self.answered,
            guards=guards,
            uses=self.uses,
            reads=self.reads,
            names=self.names and self.names | {"outcome"} if self.answered else self.names,
            about=self.about,
            ordered=self.ordered,
            constants=self.constants,
        )


def tests_of(assertion: Assertion) -> dict[Test, str]:
    """Which of every, none, share and value are written, with their text."""
    written: dict[Test, str | None] = {
        "every": assertion.every,
        "none": assertion.none,
        "share": assertion.share,
        "value": assertion.value,
    }
    return {test: text for test, text in written.items() if text is not None}


def only(node: Node, allowed: frozenset[str]) -> bool:
    """Whether a SELECT has no clauses but these."""
    return (
        all(
            value in (None, [], _EMPTY.get(key))
            for key, value in node.items()
            if key not in allowed and key != "type"
        )
        and syntax.text_of(node, "type") == "SELECT_NODE"
    )


def conjuncts(node: Node) -> list[Node]:
    """The parts of `a AND b AND c`."""
    if syntax.text_of(node, "type") == "CONJUNCTION_AND":
        return [part for item in syntax.children(node, "children") for part in conjuncts(item)]
    return [node]


_OPPOSITES = {
    "COMPARE_EQUAL": "COMPARE_NOTEQUAL",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHANOREQUALTO",
    "OPERATOR_IS_NULL": "OPERATOR_IS_NOT_NULL",
}
_NOT = {"class": "OPERATOR", "type": "OPERATOR_NOT", "alias": ""}
_OPPOSITES |= {opposite: name for name, opposite in _OPPOSITES.items()}


def said_by_where(expression: Node, where: Node) -> bool:
    """Whether the population is narrowed to exactly the rows for which the predicate has one answer."""
    conditions = [syntax.bare(_plain(part)) for part in conjuncts(where)]
    return any(
        syntax.bare(_plain(said)) in conditions
        for said in (expression, {**_NOT, "children": [expression]})
    )


def _plain(node: Node) -> Node:
    """`NOT a = b` as `a <> b`, and so on, where SQL has another way of writing it."""
    if syntax.text_of(node, "type") != "OPERATOR_NOT":
        return node
    inner = _plain(syntax.children(node, "children")[0])
    name = syntax.text_of(inner, "type")
    if name == "OPERATOR_NOT":
        return syntax.children(inner, "children")[0]
    return (
        {**inner, "type": _OPPOSITES[name]} if name in _OPPOSITES else {**node, "children": [inner]}
    )


_SENDERS = frozenset({"step", "load"})


def about(where: Node) -> frozenset[str]:
    """The steps and loads that a `where` narrows its rows to: one that it compares with a text, or a list of them."""
    named: frozenset[str] = frozenset()
    for part in conjuncts(where):
        sides = list(syntax.parts(part))
        columns = {names[-1].lower() for side in sides if (names := syntax.names_of(side))}
        texts = [found[1] for side in sides if (found := syntax.constant(side))]
        compared = syntax.text_of(part, "type") in ("COMPARE_EQUAL", "COMPARE_IN")
        if compared and columns <= _SENDERS and len(texts) == len(sides) - 1:
            named |= frozenset(texts)
    return named


def quantile_of(node: Node) -> float | None:
    """The quantile that an aggregate computes, between 0 and 1 exclusive, or None when it computes none."""
    name = syntax.text_of(node, "function_name").lower()
    if name == "median":
        return 0.5
    given = syntax.arguments(node)
    if name not in functions.QUANTILES or len(given) != 2:
        return None
    kind = syntax.constant(given[1])
    if kind is None or kind[0] not in ("NUMERIC", "INTEGER"):
        return None
    share = float(kind[1])
    return share if 0 < share < 1 else None


def inputs_of(aggregates: Sequence[Node]) -> list[list[Node]]:
    """Per aggregate what must not be NULL for a row to count: its arguments; nothing for counts."""
    groups = [
        [argument for argument in syntax.arguments(node) if syntax.constant(argument) is None]
        for node in aggregates
        if syntax.text_of(node, "function_name").lower() not in functions.COUNTS
    ]
    return [group for group in groups if group]


def guards_of(roots: Sequence[Node]) -> list[Node]:
    """Expressions that could be NaN or infinite, which DuckDB orders above every number."""
    found: dict[str, Node] = {}
    for root in roots:
        for node in _outside_lambdas(root):
            if _is_floating(node):
                found.setdefault(repr(syntax.bare(node)), node)
    return list(found.values())


def _outside_lambdas(node: Node) -> Iterator[Node]:
    yield node
    for part in syntax.parts(node):
        if syntax.class_of(part) != "LAMBDA":
            yield from _outside_lambdas(part)


def _is_floating(node: Node) -> bool:
    if syntax.class_of(node) == "CAST":
        return syntax.text_of(syntax.child(node, "type_expr"), "type_name").upper() in _FLOATS
    return syntax.text_of(node, "function_name").lower() in functions.FLOATING
