"""From a gate's assertions to a plan: parsed, checked and rewritten, without any evidence."""

from collections.abc import Iterable, Sequence

import duckdb
import msgspec

from chaos.evidence import schema
from gates.judge import binomial, comparator, drafts, functions, leaves, syntax, tables
from gates.judge.checks import Place, Uses, inspect
from gates.judge.comparator import EqualsQuery
from gates.judge.drafts import Draft, Parts
from gates.judge.leaves import Split
from gates.judge.lineage import Lineage, Use
from gates.judge.plan import AssertPlan, GatePlan, QueryPlan, evidence_tables
from gates.judge.problem import Kind, Problem, Source, Text, suggestion
from gates.judge.relations import Relation, fixed, recorded
from gates.judge.syntax import Node, SyntaxProblem, Tree
from gates.spec.assertion import Assertion, Judged

_FROM_CLAUSES = frozenset({"from_table", "where_clause", "select_list"})
_EXPRESSION_CLAUSES = frozenset({"from_table", "select_list"})


UNANSWERED = "what was never answered is left out here, whatever it would have been: select what was answered, with `outcome = 'ok' and …`"

_MOST_PLANS = 1024
_ANY_TEXT = ("VARCHAR", "JSON", "MAP(", "STRUCT(")
_plans: dict[bytes, GatePlan] = {}


def compile_gate(connection: duckdb.DuckDBPyConnection, judged: Judged) -> GatePlan:
    """The plan of a gate with every problem of its text. The connection is used as a parser only.

    The same text is compiled once, however often a gate is linted and judged.
    """
    key = text_of(judged)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        plan = _plans[key] = _Compiler(connection, judged).compile(key)
    return msgspec.structs.replace(plan, judged=judged)


def text_of(judged: Judged) -> bytes:
    """All of a gate that its SQL depends on: gates that are equal in it have the same plan and problems."""
    return msgspec.json.encode((judged.asserts, judged.with_, judged.data, judged.collected))


class _Compiler:
    """Collects problems while a gate is compiled."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, judged: Judged) -> None:
        self.connection = connection
        self.judged = judged
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []
        self.texts: list[Text] = []
        self.evidence = evidence_tables(judged)
        self.queries: dict[str, QueryPlan] = {}
        self.refused: set[str] = set()
        self.trees: dict[str, Tree | SyntaxProblem] = {}
        self.lineages: dict[str, Relation] = {
            name: recorded(name, columns) for name, columns in self.evidence.items()
        }
        self.lineages |= {
            name: fixed(rows) for name, rows in judged.data.items() if name not in self.evidence
        }

    def add(self, kind: Kind, message: str, where: str) -> None:
        self.problems.append(Problem(kind, message, where))

    def compile(self, text: bytes) -> GatePlan:
        """Parse everything at once, then check the queries in order, then the assertions."""
        self.fixed()
        parts = [self.parts(i, a) for i, a in enumerate(self.judged.asserts)]
        queries = [
            Source(f"with.{name}.query", named.query) for name, named in self.judged.with_.items()
        ]
        self.parse([*queries, *(s for item in parts if item for s in item.sources())])
        for name, source in zip(self.judged.with_, queries, strict=True):
            self.query(name, source)
        self.repeated()
        asserts = tuple(self.assertion(item) if item else None for item in parts)
        self.mistyped()
        return GatePlan(
            text,
            self.judged,
            tuple(self.queries.values()),
            self.rendered(asserts),
            tuple(self.problems),
            tuple(self.hints),
            tuple(dict.fromkeys(self.texts)),
        )

    def parse(self, sources: Sequence[Source]) -> None:
        texts = list(dict.fromkeys(source.sql() for source in sources))
        self.trees = dict(zip(texts, syntax.parse(self.connection, texts), strict=True))

    def mistyped(self) -> None:
        """DuckDB reads a text that is compared with a number as one, and fails where it is none."""
        for one in dict.fromkeys(self.texts):
            kind = self.evidence[one.table][one.column].removesuffix("[]")
            if kind.startswith(_ANY_TEXT):
                continue
            reads = self.connection.execute(
                f"SELECT TRY_CAST({tables.literal(one.text)} AS {kind}) IS NOT NULL"
            ).fetchone()
            if reads != (True,):
                message = f"the {one.column} of {one.table} is {kind}, which {one.text!r} is not"
                self.problems.append(Problem("type", message, one.where, one.offset))

    def fixed(self) -> None:
        """A table of `data:` may not stand in the place of evidence."""
        for name in self.judged.data:
            if not drafts.is_free(name, self.evidence):
                self.add("data", drafts.not_free(name), f"data.{name}")

    def repeated(self) -> None:
        seen: set[str] = set()
        for index, assertion in enumerate(self.judged.asserts):
            if assertion.that in seen:
                self.add(
                    "form", f"two assertions are called {assertion.that!r}", f"assert.{index}.that"
                )
            seen.add(assertion.that)

    def parts(self, index: int, assertion: Assertion) -> Parts | None:
        """The parts of an assertion, or None when it does not say one thing."""
        where = f"assert.{index}"
        if assertion.at_least < 1:
            self.add(
                "population",
                "at_least must be 1 or more: nothing measured is never a pass",
                f"{where}.at_least",
            )
        tests = drafts.tests_of(assertion)
        if len(tests) != 1:
            self.add("form", "write exactly one of every, none, share and value", where)
            return None
        ((test, text),) = tests.items()
        source = Source(f"{where}.from", assertion.from_, drafts.FROM)
        parts = Parts(
            assertion, where, test, source, Source(f"{where}.{test}", text, drafts.SELECT)
        )
        return parts if self.comparator(parts) else None

    def comparator(self, parts: Parts) -> bool:
        """Read `is:`; false when the assertion cannot be judged with what is written there."""
        where, text = f"{parts.where}.is", parts.assertion.is_
        needed = parts.test in ("share", "value")
        if (text is not None) != needed:
            self.add(
                "comparator",
                f"`{parts.test}` {'needs' if needed else 'takes no'} `is:`",
                where if text else parts.where,
            )
            return False
        if text is None:
            return True
        try:
            parts.comparator = comparator.parse(text)
        except ValueError as error:
            self.add("comparator", str(error), where)
            return False
        if isinstance(parts.comparator, EqualsQuery):
            parts.is_query = Source(where, parts.comparator.query, shift=parts.comparator.offset)
        problem = comparator.share_problem(parts.comparator) if parts.test == "share" else None
        if problem:
            self.add("comparator", problem, where)
        return problem is None

    def tree(self, source: Source) -> Node | None:
        """The query node of a source, or None after noting why there is none."""
        tree = self.trees[source.sql()]
        if not source.text.strip():
            self.problems.append(source.problem("syntax", "there is no SQL here"))
            return None
        if isinstance(tree, SyntaxProblem):
            self.problems.append(source.problem("syntax", tree.message, tree.offset))
            return None
        return tree.node

    def inspect(self, source: Source, node: Node, place: Place) -> Uses | None:
        """What a node uses, or None after noting what of it is not allowed."""
        uses = inspect(source, node, place)
        self.problems += uses.problems
        return None if uses.problems else uses

    def relations(self, source: Source, uses: Uses) -> frozenset[str] | None:
        """The relations that are read, lower case; None after noting an unknown one, or when one was refused."""
        known = frozenset(self.evidence) | frozenset(self.queries) | frozenset(self.judged.data)
        read = set()
        for name, node in uses.tables:
            if name.lower() in self.refused:
                return None
            if name.lower() not in known:
                message = f"there is no table {name}{suggestion(name, known)}"
                self.problems.append(source.problem("table", message, syntax.offset_of(node)))
                return None
            read.add(name.lower())
        return frozenset(read)

    def behind(self, relations: Iterable[str]) -> frozenset[str]:
        """The evidence tables behind some relations."""
        tables: frozenset[str] = frozenset()
        for name in relations:
            tables |= (
                self.queries[name].reads
                if name in self.queries
                else frozenset({name} & set(self.evidence))
            )
        return tables

    def query(self, name: str, source: Source) -> None:
        """One query of `with:`, which may use those before it."""
        named = self.judged.with_[name]
        if named.at_least < 1:
            self.add(
                "population",
                "at_least must be 1 or more: nothing measured is never a pass",
                f"with.{name}.at_least",
            )
        if not drafts.is_free(name, self.evidence) or name in self.judged.data:
            self.add("table", drafts.not_free(name), f"with.{name}")
            return
        node = self.tree(source)
        uses = self.inspect(source, node, "query") if node else None
        relations = self.relations(source, uses) if uses else None
        reads = self.behind(relations or frozenset())
        if relations is not None and not reads:
            self.problems.append(source.problem("table", "the query reads no evidence"))
        if node is None or relations is None or not reads:
            self.refused.add(name)
            return
        names = syntax.words(node)
        seen = Lineage(self.lineages)
        self.lineages[name] = seen.query(node)
        self.untold(source, seen)
        self.texts += [one.told(source) for one in seen.compared]
        self.queries[name] = QueryPlan(
            name,
            named.query,
            named.at_least,
            relations,
            reads,
            names,
            seen.ordered,
            syntax.constants([node]),
        )

    def untold(self, source: Source, seen: Lineage) -> None:
        """Orders that leave it open which row comes first (rule 39)."""
        for found in seen.found:
            where = syntax.offset_of(found.node)
            self.problems.append(source.problem("order", found.message, where))

    def assertion(self, parts: Parts) -> Draft | None:
        """The assertion as checked trees, or None after noting what is wrong with it."""
        source, node = self.tree(parts.source), self.tree(parts.expression)
        relation = self.relation(parts.source, source) if source else None
        expression = self.single(parts.expression, node) if node else None
        place: Place = "value" if parts.test == "value" else "predicate"
        uses = self.inspect(parts.expression, expression, place) if expression else None
        is_uses = self.is_query(parts.is_query) if parts.is_query else frozenset()
        is_ordered = self.is_ordered(parts.is_query) if parts.is_query and is_uses else False
        if (
            source is None
            or relation is None
            or expression is None
            or uses is None
            or is_uses is None
        ):
            return None
        split = leaves.split(expression, relation)
        where = syntax.child(source, "where_clause")
        if not self.can_depend(parts, split, uses, where, expression):
            return None
        seen = Lineage(self.lineages)
        used = seen.assertion(relation, where, expression)
        if any(not use.asks for use in seen.uses if use not in used):
            self.hints.append(parts.source.problem("unanswered", UNANSWERED))
        self.untold(parts.expression, seen)
        narrowing = {id(part) for part in syntax.walk(where)}
        self.texts += [
            one.told(parts.source if id(one.node) in narrowing else parts.expression)
            for one in seen.compared
        ]
        is_value = parts.test == "value"
        return Draft(
            parts,
            relation,
            expression,
            split,
            leaves.also(where, relation, split.leaves),
            self.quantile(parts, expression, uses) if is_value else None,
            drafts.inputs_of(uses.aggregates),
            drafts.guards_of(_inside(uses.aggregates) if is_value else [expression]),
            is_uses | {relation},
            self.behind(is_uses | {relation}),
            self.words(source, expression, parts.is_query),
            self.answered(relation, used) if is_value else (),
            drafts.about(where),
            seen.ordered or is_ordered,
            syntax.constants([where, expression, self.is_tree(parts)]),
        )

    def words(
        self, source: Node, expression: Node, is_query: Source | None
    ) -> frozenset[str] | None:
        """What an assertion could read, see `syntax.words`."""
        parts = {
            "table": syntax.child(source, "from_table"),
            "where": syntax.child(source, "where_clause"),
            "expression": expression,
            "is": (self.tree(is_query) if is_query else None) or {},
        }
        return syntax.words(parts)

    def relation(self, source: Source, node: Node) -> str | None:
        """The one relation that a `from` names."""
        table = syntax.child(node, "from_table")
        plain = syntax.text_of(table, "type") == "BASE_TABLE" and not syntax.text_of(table, "alias")
        if not plain or not drafts.only(node, _FROM_CLAUSES):
            message = (
                "write one table and at most a `where`; joins belong into a query under `with:`"
            )
            self.problems.append(source.problem("form", message, syntax.offset_of(table)))
            return None
        where = syntax.child(node, "where_clause")
        uses = self.inspect(source, {"type": "", "table": table, "where": where}, "predicate")
        relations = self.relations(source, uses) if uses else None
        if relations and not self.behind(relations):
            message = "a population comes from the evidence; a fixed table can only be joined to it under `with:`"
            self.problems.append(source.problem("table", message))
            return None
        return next(iter(relations)) if relations else None

    def single(self, source: Source, node: Node) -> Node | None:
        """The one expression of a predicate or value."""
        items = syntax.children(node, "select_list")
        if len(items) != 1 or syntax.text_of(items[0], "alias"):
            self.problems.append(source.problem("form", "write one expression without a name"))
            return None
        if (
            not drafts.only(node, _EXPRESSION_CLAUSES)
            or syntax.text_of(syntax.child(node, "from_table"), "type") != "EMPTY"
        ):
            self.problems.append(
                source.problem("form", "write an expression only: the table stands under `from`")
            )
            return None
        return items[0]

    def is_query(self, source: Source) -> frozenset[str] | None:
        node = self.tree(source)
        uses = self.inspect(source, node, "query") if node else None
        return self.relations(source, uses) if uses else None

    def answered(self, relation: str, used: Sequence[Use]) -> tuple[str, ...]:
        """Conditions of rows that say something to aggregates which use answers: those that have one."""
        if not any(not use.asks for use in used):
            return ()
        if relation in self.evidence:
            return (schema.ANSWERED[relation],)
        told = {use.origin.table for use in used if not use.asks}
        witnesses = [
            name
            for name, origin in self.lineages[relation].columns.items()
            if origin is not None and origin.table in told and origin.column in ("status", "exit")
        ]
        return tuple(f"{tables.quoted(name)} IS NOT NULL" for name in witnesses)

    def is_tree(self, parts: Parts) -> Node:
        """The tree of the query in an `is:`, empty without one."""
        return (self.tree(parts.is_query) if parts.is_query else None) or {}

    def is_ordered(self, source: Source) -> bool:
        """Whether order matters in the query of an `is:`, after noting where it is open."""
        node = self.tree(source)
        seen = Lineage(self.lineages)
        if node is not None:
            seen.query(node)
        self.untold(source, seen)
        self.texts += [one.told(source) for one in seen.compared]
        return seen.ordered

    def can_depend(
        self, parts: Parts, split: Split, uses: Uses, where: Node, expression: Node
    ) -> bool:
        """Whether the assertion depends on what was observed at all (rule 18)."""
        add = self.problems.append
        if parts.test == "value" and not uses.aggregates:
            add(parts.expression.problem("form", "a value is an aggregate, like max(latency_ms)"))
        elif parts.test != "value" and not split.columns():
            add(
                parts.expression.problem(
                    "constant", "this is the same for every row: it uses no column of the table"
                )
            )
        elif parts.test != "value" and drafts.said_by_where(expression, where):
            add(
                parts.expression.problem(
                    "constant", "the `where` of the population already says this"
                )
            )
        elif parts.assertion.timed and (others := untimed(split.columns())):
            message = f"what is `timed` speaks of times only, columns that end in `_ms`, not of {others[0]}"
            add(parts.expression.problem("form", message))
        else:
            return True
        return False

    def quantile(self, parts: Parts, expression: Node, uses: Uses) -> tuple[float, Node] | None:
        """A percentile that is judged by its binomial bounds; every percentile needs a population."""
        for node in uses.aggregates:
            quantile = drafts.quantile_of(node)
            if (
                quantile is None
                and syntax.text_of(node, "function_name").lower() in functions.QUANTILES
            ):
                self.problems.append(
                    parts.expression.problem(
                        "form",
                        "a percentile takes one number between 0 and 1",
                        syntax.offset_of(node),
                    )
                )
            if quantile is not None and parts.assertion.at_least < binomial.smallest_sample(
                max(quantile, 1 - quantile)
            ):
                needed = binomial.smallest_sample(max(quantile, 1 - quantile))
                self.add(
                    "population",
                    f"a percentile of {quantile} needs at_least: {needed}",
                    f"{parts.where}.at_least",
                )
        bounded = isinstance(parts.comparator, comparator.Simple) and comparator.upper_bounded(
            parts.comparator
        )
        quantile = drafts.quantile_of(expression)
        if quantile is None or not bounded:
            return None
        if expression.get("filter") is not None or expression.get("distinct"):
            self.problems.append(
                parts.expression.problem(
                    "form", "narrow the population with `where`, not inside the percentile"
                )
            )
        return quantile, syntax.arguments(expression)[0]

    def rendered(self, asserts: Sequence[Draft | None]) -> tuple[AssertPlan | None, ...]:
        """Turn all expressions back into text, in one call."""
        nodes = [node for plan in asserts if plan for node in plan.nodes()]
        texts = iter(syntax.render(self.connection, nodes))
        return tuple(plan.finish(texts) if plan else None for plan in asserts)


def untimed(columns: Iterable[str]) -> list[str]:
    """Columns that hold no times: all times are in milliseconds, and are called so."""
    return [column for column in columns if not column.endswith("_ms")]


def _inside(aggregates: Sequence[Node]) -> list[Node]:
    """Arguments and filters of aggregates: the part of a value that is computed per row."""
    filters = [syntax.child(node, "filter") for node in aggregates if node.get("filter")]
    return [argument for node in aggregates for argument in syntax.arguments(node)] + filters
