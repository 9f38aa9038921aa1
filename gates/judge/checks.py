"""What SQL may contain: one walk over a tree that collects what it uses and refuses what it must not use."""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from gates.judge import functions, syntax
from gates.judge.problem import Kind, Problem, Source, suggestion
from gates.judge.syntax import Node

Place = Literal["predicate", "value", "query"]

_EXPRESSIONS = frozenset({
    "FUNCTION", "COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "CASE", "CAST", "TYPE",
    "BETWEEN", "LAMBDA", "SUBQUERY", "STAR", "WINDOW",
})  # fmt: skip

_REFUSED_EXPRESSIONS: Mapping[str, str] = {
    "PARAMETER": "parameters have no value here",
    "POSITIONAL_REFERENCE": "name the column instead of its position",
    "COLLATE": "collations are not allowed",
    "DEFAULT": "DEFAULT has no meaning here",
}

_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE"})
_TABLES = frozenset({"BASE_TABLE", "JOIN", "SUBQUERY", "EMPTY"})
_REFUSED_TABLES: Mapping[str, str] = {
    "TABLE_FUNCTION": "table functions are not allowed: a population comes from the evidence",
    "EXPRESSION_LIST": "VALUES is not allowed: write fixed rows under `data:`",
    "SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE are not allowed",
    "PIVOT": "PIVOT is not allowed",
}
_JOINS = frozenset({"REGULAR", "CROSS", "NATURAL", "DEPENDENT"})
_ORDERS = frozenset(
    {"ORDER_DEFAULT", "ASCENDING", "DESCENDING", "ORDER_ASCENDING", "ORDER_DESCENDING"}
)

_CALLS = (
    functions.SCALAR_CALLS
    | functions.AGGREGATES
    | functions.ORDERED
    | functions.WINDOWS
    | {functions.UNNEST}
)


class Uses(Struct):
    """What a piece of SQL uses. `tables` are names as written, in order; `columns` and `aggregates` are nodes."""

    tables: list[tuple[str, Node]]
    columns: list[Node]
    aggregates: list[Node]
    problems: list[Problem]


class Scope(Struct, frozen=True):
    """Names that are bound inside: parameters of lambdas and named queries of a WITH."""

    lambdas: frozenset[str] = frozenset()
    queries: frozenset[str] = frozenset()


def inspect(source: Source, node: Node, place: Place) -> Uses:
    """Everything that `node`, parsed from `source`, uses, and what of it is not allowed in this place."""
    uses = Uses([], [], [], [])
    _Walk(source, place, uses).visit(node, Scope())
    return uses


class _Walk:
    """One walk. Every kind of node that is not known to be harmless is a problem."""

    def __init__(self, source: Source, place: Place, uses: Uses) -> None:
        self.source = source
        self.place = place
        self.uses = uses
        self.handlers: Mapping[str, Callable[[Node, Scope], None]] = {
            "FUNCTION": self.function,
            "COLUMN_REF": self.column,
            "LAMBDA": self.arrow,
            "SUBQUERY": self.subquery,
            "STAR": self.star,
            "WINDOW": self.window,
        }

    def refuse(self, kind: Kind, message: str, node: Node) -> None:
        self.uses.problems.append(self.source.problem(kind, message, syntax.offset_of(node)))

    def below(self, node: Node, scope: Scope) -> None:
        for part in syntax.parts(node):
            self.visit(part, scope)

    def visit(self, node: Node, scope: Scope) -> None:
        """Any node: an expression, a query, a table, or a wrapper around one of them."""
        name = syntax.class_of(node)
        if name:
            self.expression(name, node, scope)
        elif syntax.text_of(node, "type") in _QUERIES:
            self.query(node, scope)
        elif syntax.text_of(node, "type"):
            self.other(syntax.text_of(node, "type"), node, scope)
        else:
            self.below(node, scope)

    def expression(self, name: str, node: Node, scope: Scope) -> None:
        if name in _REFUSED_EXPRESSIONS:
            self.refuse("form", _REFUSED_EXPRESSIONS[name], node)
        elif name not in _EXPRESSIONS:
            self.refuse("form", f"{name.lower()} expressions are not allowed", node)
        elif name in self.handlers:
            self.handlers[name](node, scope)
        else:
            self.below(node, scope)

    def other(self, name: str, node: Node, scope: Scope) -> None:
        """Tables, modifiers and orders."""
        if name in _REFUSED_TABLES:
            self.refuse("table", _REFUSED_TABLES[name], node)
        elif name == "BASE_TABLE":
            self.table(node, scope)
        elif name == "RECURSIVE_CTE_NODE":
            self.refuse("form", "recursive queries are not allowed", node)
        elif name == "JOIN" and syntax.text_of(node, "ref_type") not in _JOINS:
            self.refuse("order", "positional and nearest joins are not allowed", node)
        elif name == "DISTINCT_MODIFIER" and node.get("distinct_on_targets"):
            self.refuse("order", "DISTINCT ON takes any row; use GROUP BY", node)
        elif name in _TABLES | _ORDERS | {"ORDER_MODIFIER", "LIMIT_MODIFIER", "DISTINCT_MODIFIER"}:
            self.sample(node)
            self.below(node, scope)
        else:
            self.refuse("form", f"{name} is not allowed", node)

    def sample(self, node: Node) -> None:
        if node.get("sample") is not None:
            self.refuse("form", "sampling is not allowed", node)

    def query(self, node: Node, scope: Scope) -> None:
        """A query node: its named queries first, then the rest with their names known."""
        if node.get("sample") is not None:
            self.sample(node)
            return
        self.limits(node)
        queries = scope.queries
        for entry in syntax.children(syntax.child(node, "cte_map"), "map"):
            inner = syntax.child(syntax.child(entry, "value"), "query_node")
            self.visit(inner, Scope(scope.lambdas, queries))
            queries |= {syntax.text_of(entry, "key").lower()}
        rest = {
            k: v
            for k, v in node.items()
            if k not in ("cte_map", "type", "sample", "select_list", "setop_type")
        }
        inside = Scope(scope.lambdas, queries)
        for item in syntax.children(node, "select_list"):
            self.visit(item, inside)
        self.below(rest, inside)

    def limits(self, node: Node) -> None:
        """A LIMIT counts rows, and only of rows that are in an order."""
        modifiers = {syntax.text_of(m, "type"): m for m in syntax.children(node, "modifiers")}
        limit = modifiers.get("LIMIT_MODIFIER")
        if limit is None:
            return
        if "ORDER_MODIFIER" not in modifiers:
            self.refuse("order", "LIMIT needs an ORDER BY", node)
        if syntax.text_of(limit, "limit_type") != "ROW_COUNT":
            self.refuse("form", "LIMIT takes a number of rows", node)

    def table(self, node: Node, scope: Scope) -> None:
        name = syntax.text_of(node, "table_name")
        if syntax.text_of(node, "schema_name") or syntax.text_of(node, "catalog_name"):
            self.refuse("table", "tables are named without a schema", node)
        elif node.get("at_clause") is not None:
            self.refuse("form", "AT is not allowed", node)
        elif name.lower() not in scope.queries:
            self.uses.tables.append((name, node))
        self.sample(node)

    def function(self, node: Node, scope: Scope) -> None:
        name = syntax.text_of(node, "function_name").lower()
        if syntax.text_of(node, "schema") or syntax.text_of(node, "catalog"):
            self.refuse("function", "functions are named without a schema", node)
        elif name not in _CALLS:
            self.refuse(
                "function", f"the function {name} is not allowed{suggestion(name, _CALLS)}", node
            )
        elif name in functions.WINDOWS:
            self.refuse("function", f"{name} needs OVER (…)", node)
        elif name in functions.ORDERED and not syntax.children(
            syntax.child(node, "order_bys"), "orders"
        ):
            self.refuse("order", f"{name} needs an ORDER BY inside its parentheses", node)
        elif name == functions.UNNEST and self.place != "query":
            self.refuse("form", "unnest belongs into a query under `with:`", node)
        elif name in functions.AGGREGATES | functions.ORDERED:
            self.aggregate(node)
        self.below(node, scope)

    def aggregate(self, node: Node) -> None:
        if self.place == "predicate":
            name = syntax.text_of(node, "function_name").replace("count_star", "count(*)")
            self.refuse(
                "form", f"{name} is an aggregate: a predicate sees one row; use `value:`", node
            )
        self.uses.aggregates.append(node)

    def column(self, node: Node, scope: Scope) -> None:
        names = syntax.names_of(node)
        last = names[-1].lower() if names else ""
        if last == "rowid" or (len(names) == 1 and last in functions.PSEUDO_COLUMNS):
            self.refuse("function", f"{names[-1]} is not a column of the evidence", node)
        elif names and names[0].lower() not in scope.lambdas:
            self.uses.columns.append(node)

    def arrow(self, node: Node, scope: Scope) -> None:
        """`lambda x: …`, or the JSON arrow, which the parser takes for the same thing."""
        left = syntax.child(node, "lhs")
        if is_json_arrow(node):
            self.visit(left, scope)
        elif syntax.text_of(node, "syntax_type") == "SINGLE_ARROW":
            message = "put parentheses around (json -> 'path'): the arrow takes all that follows; a lambda is `lambda x: …`"
            self.refuse("form", message, node)
        else:
            bound = {n.lower() for part in syntax.walk(left) for n in syntax.names_of(part)[:1]}
            self.visit(syntax.child(node, "expr"), Scope(scope.lambdas | bound, scope.queries))

    def subquery(self, node: Node, scope: Scope) -> None:
        if self.place != "query":
            self.refuse("form", "no subqueries here: joins belong into a query under `with:`", node)
        else:
            self.below(node, scope)

    def star(self, node: Node, scope: Scope) -> None:
        if self.place != "query":
            self.refuse("form", "name the columns: * is not allowed here", node)
        elif node.get("columns"):
            self.refuse("form", "COLUMNS(…) is not allowed: name the columns", node)
        else:
            self.below(node, scope)

    def window(self, node: Node, scope: Scope) -> None:
        name = syntax.text_of(node, "function_name").lower()
        if self.place != "query":
            self.refuse("form", "window functions belong into a query under `with:`", node)
        elif name not in functions.WINDOWS | functions.AGGREGATES:
            self.refuse("function", f"the window function {name} is not allowed", node)
        elif name in functions.WINDOWS and not syntax.children(node, "orders"):
            self.refuse("order", f"{name} needs an ORDER BY in its OVER (…)", node)
        self.below(node, scope)


def is_json_arrow(node: Node) -> bool:
    """Whether a LAMBDA node is `json -> 'path'`."""
    is_arrow = (
        syntax.class_of(node) == "LAMBDA" and syntax.text_of(node, "syntax_type") == "SINGLE_ARROW"
    )
    kind = syntax.constant(syntax.child(node, "expr"))
    return is_arrow and kind is not None and kind[0] in ("STRING", "INTEGER")
