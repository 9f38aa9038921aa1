"""What was never answered is unknown: whether a verdict changes with what might have been answered (rule 13).

SQL knows one NULL, and much takes it for good: `coalesce(status, 200) = 200`, a filter that leaves it out, an ELSE. So what
passed is evaluated again with other answers in the place of those that never came. Each gets a mark that tells it apart, and
wherever a mark is used it stands for one of the values that are tried; asked whether there was an answer, it says no.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import duckdb
import msgspec
from msgspec import Struct

from chaos.evidence import schema
from gates.judge import drafts, functions, leaves, syntax, tables
from gates.judge.binding import Bound, Table
from gates.judge.comparator import EqualsQuery
from gates.judge.lineage import Lineage, Use
from gates.judge.measuring import Evaluated, evaluate
from gates.judge.plan import AssertPlan, GatePlan, evidence_tables
from gates.judge.relations import fixed, recorded
from gates.judge.result import Status
from gates.judge.syntax import Node, Tree
from gates.judge.worlds import World

UNKNOWN = (
    "what was never answered decides: with other answers in its place it does not pass. Select what was answered with"
    " `outcome = 'ok'`, and ask of the rest `outcome` or `status is null`"
)
UNTRIED = "what was never answered may decide: nothing could be put in its place"

_MOST_WORLDS = 16
_MOST_MIXED = 6
_MOST_KNOWN = 256

_NUMBER = -8_999_999_999_000_000_000
_MARKS: Mapping[str, tuple[str, str]] = {
    "BIGINT": (f"{_NUMBER} - seq", "-8999999999"),
    "VARCHAR": ("'judge: ' || seq", "judge: "),
    "JSON": ("to_json('judge: ' || seq)::JSON", '"judge: '),
}
"""By type: the mark of a row, and how its text begins."""

_VALUE = (
    "SELECT CASE WHEN starts_with(CAST(x AS VARCHAR), '{mark}')"
    " THEN coalesce(y, TRY_CAST(CAST(x AS VARCHAR) AS {kind})) ELSE z END"
)
_ASKS = {
    "OPERATOR_IS_NULL": "SELECT x IS NULL OR starts_with(CAST(x AS VARCHAR), '{mark}')",
    "OPERATOR_IS_NOT_NULL": "SELECT x IS NOT NULL AND NOT starts_with(CAST(x AS VARCHAR), '{mark}')",
}
_OWN = "NULL"
"""In the place of a value: the mark itself, which differs from row to row."""
_ALARM = "CAST(error('judge: a mark was used') AS {kind})"
"""In the place of a value: what raises as soon as a mark is looked at. It is volatile, so that TRY refuses it and nothing moves or folds it."""

_PLACE = re.compile(r"judge_place_(\d+)")

_STRICT = functions.OPERATORS | {
    "abs", "ceil", "ceiling", "floor", "round", "trunc", "sign", "length", "len", "strlen", "lower", "upper", "trim",
    "substr", "substring", "left", "right", "starts_with", "ends_with", "prefix", "suffix", "contains",
    "regexp_matches", "regexp_full_match", "regexp_extract", "replace", "json_array_length", "json_keys",
    *functions.JSON_EXTRACTS,
}  # fmt: skip
_STRICT_TYPES = frozenset({
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_BETWEEN", "COMPARE_IN", "COMPARE_NOT_IN", "CONJUNCTION_AND",
    "CONJUNCTION_OR", "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_CAST", "CAST",
    "COLUMN_REF", "VALUE_CONSTANT", "LAMBDA",
})  # fmt: skip
"""What gives NULL of NULL, or what is true whatever stands in the place of it: where nothing else is in a predicate, a
row of which the answer is unknown can only hold by what is known of it."""


class _Rewritten(Struct, frozen=True):
    """One assertion over marks: with its queries, and the places where something has to stand."""

    plan: AssertPlan
    queries: Mapping[str, str]
    places: Mapping[int, str]
    constants: tuple[tuple[str, str], ...]
    strict: bool


def undecided(plans: Sequence[AssertPlan], gate: GatePlan, bound: Bound) -> dict[int, str]:
    """Why assertions that passed may not have, by the identity of their plans, if what was never answered had been."""
    missing = _unanswered(plans, bound)
    if not missing:
        return {}
    asked = []
    for plan in plans:
        own = [missing[table] for table in plan.reads if table in missing]
        if not own:
            continue
        rewritten = _rewritten(plan, gate, bound)
        # What is there in spite of it is no NULL.
        if rewritten is not None and not (rewritten.strict and not any(own)):
            asked.append(rewritten)
    found = {}
    seen = _seen(bound) if asked else []
    for one in asked:
        more = msgspec.structs.replace(one, constants=(*one.constants, *seen))
        why = _tried(more, gate, bound)
        if why is not None:
            plan = next(p for p in plans if p.where == one.plan.where)
            found[id(plan)] = why
    return found


def _unanswered(plans: Sequence[AssertPlan], bound: Bound) -> dict[str, int]:
    """The tables with rows that have no answer, and how many of these hold a part of one all the same."""
    reads = sorted(frozenset().union(*(plan.reads for plan in plans)) & schema.ANSWERS.keys())
    parts = []
    for name in reads:
        partly = " OR ".join(f"{tables.quoted(c)} IS NOT NULL" for c in schema.ANSWERS[name][:1])
        parts.append(
            f"SELECT {tables.literal(name)}, count(*), count(*) FILTER (WHERE {partly})"
            f" FROM ({bound.tables[name].whole}) WHERE ({schema.ANSWERED[name]}) IS NOT TRUE"
        )
    rows = bound.connection.execute(" UNION ALL ".join(parts)).fetchall() if parts else []
    return {str(name): int(partly) for name, count, partly in rows if count}


def _seen(bound: Bound) -> list[tuple[str, str]]:
    """Some of the statuses that others were answered with, as constants."""
    table = bound.tables.get("requests")
    if table is None:
        return []
    sql = f"SELECT DISTINCT status FROM ({table.whole}) WHERE status IS NOT NULL ORDER BY status LIMIT 4"
    return [("INTEGER", str(status)) for (status,) in bound.connection.execute(sql).fetchall()]


def _marked(name: str, table: Table, kinds: Mapping[str, str]) -> str:
    """The rows of a table with a mark in the place of each answer that never came."""
    columns = [
        f"CASE WHEN {schema.ANSWERED[name]} THEN {tables.quoted(column)} ELSE {_MARKS[kinds[column]][0]} END"
        f" AS {tables.quoted(column)}"
        if column in schema.ANSWERS[name]
        else tables.quoted(column)
        for column in table.columns
    ]
    return f"SELECT {', '.join(columns)} FROM ({table.whole})"


def _change(bound: Bound) -> World:
    def change(_rows: str, name: str, kinds: dict[str, str]) -> str:
        return _marked(name, bound.tables[name], kinds)

    return World("answered otherwise", change, frozenset(schema.ANSWERS))


def _tried(one: _Rewritten, gate: GatePlan, bound: Bound) -> str | None:
    status = _status(one, _alarms(one), gate, bound)
    if status is not None:
        # No mark was looked at, so that it is the same whatever stands for one.
        return None if status == "PASS" else UNKNOWN
    told = False
    for values in _assignments(one):
        status = _status(one, values, gate, bound)
        told |= status is not None
        if status not in ("PASS", None):
            return UNKNOWN
    return None if told else UNTRIED


def _status(
    one: _Rewritten, values: Mapping[int, str], gate: GatePlan, bound: Bound
) -> Status | None:
    """What the assertion comes to with these values in the places, None where that cannot be said."""
    plan, queries = _with(one, values)
    own = msgspec.structs.replace(
        gate,
        queries=tuple(
            msgspec.structs.replace(query, text=queries.get(query.name, query.text))
            for query in gate.queries
        ),
    )
    (seen,) = evaluate(_change(bound), [plan], own, bound)
    return seen.outcome(plan).status if isinstance(seen, Evaluated) else None


def _alarms(one: _Rewritten) -> dict[int, str]:
    return {place: _ALARM.format(kind=kind) for place, kind in one.places.items()}


def _assignments(one: _Rewritten) -> Iterator[dict[int, str]]:
    """What stands in the places: one value in all of a type, then others in each."""
    tries = {place: _values(kind, one.constants) for place, kind in one.places.items()}
    most = min(max(map(len, tries.values()), default=1), _MOST_WORLDS)
    for number in range(most):
        yield {place: own[number % len(own)] for place, own in tries.items()}
    chance = random.Random(len(tries))
    if len(tries) > 1:
        for _ in range(_MOST_MIXED):
            yield {place: chance.choice(own) for place, own in tries.items()}


def _values(kind: str, constants: Iterable[tuple[str, str]]) -> list[str]:
    """SQL of what may stand in a place of this type; first what differs from row to row."""
    texts = [text for _, text in constants]
    numbers = [text for name, text in constants if name in ("INTEGER", "NUMERIC")]
    if kind == "BIGINT":
        near = [f"({text} {step})" for text in numbers for step in ("+ 0", "+ 1", "- 1")]
        found = [_OWN, "1000000000000000000", *near, "0"]
    elif kind == "VARCHAR":
        found = [
            _OWN,
            *map(tables.literal, texts),
            "'corrupted'",
            "'true'",
            "'false'",
            "'1e18'",
            "''",
        ]
    elif kind.endswith("[]"):
        inner = kind[:-2]
        found = ["[]", *(f"[{value}]" for value in _values(inner, constants) if value != _OWN)]
    else:
        documents = [msgspec.json.encode(text).decode() for text in texts]
        found = [
            _OWN,
            "'{}'",
            *map(tables.literal, [*documents, *numbers, "true", "false", "[]", "1e18"]),
        ]
    return [
        value if value == _OWN else f"TRY_CAST({value} AS {kind})" for value in dict.fromkeys(found)
    ]


def _with(one: _Rewritten, values: Mapping[int, str]) -> tuple[AssertPlan, dict[str, str]]:
    """The plan and its queries with values in the places."""

    def filled(text: str) -> str:
        return _PLACE.sub(lambda match: values[int(match[1])], text)

    plan = one.plan
    expected = plan.comparator
    if isinstance(expected, EqualsQuery):
        expected = msgspec.structs.replace(expected, query=filled(expected.query))
    plan = msgspec.structs.replace(
        plan, source=filled(plan.source), expression=filled(plan.expression), comparator=expected
    )
    return plan, {name: filled(text) for name, text in one.queries.items()}


_known: dict[tuple[bytes, str], _Rewritten | None] = {}
_forms: dict[str, Node] = {}
"""What stands for marks, as trees: a few for each type."""


def _rewritten(plan: AssertPlan, gate: GatePlan, bound: Bound) -> _Rewritten | None:
    """An assertion with its queries over marks, None where it uses no answer. It is the same for every run."""
    key = (gate.text, plan.where)
    if key not in _known:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = _Rewriter(plan, gate, bound.connection).rewritten()
    return _known[key]


class _Rewriter:
    """Puts places for values wherever an assertion, or a query behind it, uses part of an answer."""

    def __init__(
        self, plan: AssertPlan, gate: GatePlan, connection: duckdb.DuckDBPyConnection
    ) -> None:
        self.plan = plan
        self.gate = gate
        self.connection = connection
        self.tables = evidence_tables(gate.judged)
        known = {name: recorded(name, columns) for name, columns in self.tables.items()}
        self.lineage = Lineage(
            known | {name: fixed(rows) for name, rows in gate.judged.data.items()}
        )
        self.places: dict[str, int] = {}
        self.kinds: dict[int, str] = {}
        self.constants: dict[tuple[str, str], None] = {}
        self.exposed = False

    def rewritten(self) -> _Rewritten | None:
        plan, queries = self.plan, self.gate.behind(self.plan)
        expected = plan.comparator.query if isinstance(plan.comparator, EqualsQuery) else None
        texts = [query.text for query in queries] + ([expected] if expected else [])
        texts += [f"{drafts.FROM}{plan.source}", f"{drafts.SELECT}{plan.expression}"]
        *trees, source, expression = [
            tree.node for tree in syntax.parse(self.connection, texts) if isinstance(tree, Tree)
        ]
        found = []
        for node, name in zip(trees, [*(query.name for query in queries), None], strict=False):
            relation = self.lineage.query(node)
            if name is not None:
                self.lineage.known[name] = relation
            found.append(self.replaced(node, self.taken()))
            self.exposed |= any(not use.asks for use in self.last)
        where = syntax.child(source, "where_clause")
        (said,) = syntax.children(expression, "select_list")
        own = self.lineage.assertion(plan.relation, where, said)
        uses = self.taken()
        self.exposed |= any(not use.asks for use in uses if use not in own)
        used = any(not use.asks for use in own)
        self.exposed |= used and (plan.test == "value" or not _is_strict(said))
        if not self.exposed and not used:
            return None
        new_where, new_said = self.replaced(where, uses), self.replaced(said, uses)
        told, *narrowed = syntax.render(
            self.connection, [new_said, *([new_where] if where else [])]
        )
        rendered = syntax.render_queries(self.connection, found)
        comparator_ = plan.comparator
        if isinstance(comparator_, EqualsQuery):
            comparator_ = msgspec.structs.replace(comparator_, query=rendered[-1])
        where_sql = f" WHERE {narrowed[0]}" if narrowed else ""
        return _Rewritten(
            plan=msgspec.structs.replace(
                plan,
                source=f"{tables.quoted(plan.relation)}{where_sql}",
                expression=told,
                comparator=comparator_,
            ),
            queries={query.name: text for query, text in zip(queries, rendered, strict=False)},
            places=self.kinds,
            constants=tuple(self.constants),
            strict=not self.exposed,
        )

    def taken(self) -> list[Use]:
        """The uses that were found since."""
        self.last, self.lineage.uses = self.lineage.uses, []
        return self.last

    def replaced(self, root: Node, uses: Sequence[Use]) -> dict[str, object]:
        """A tree in which marks stand for values."""
        self.constants |= dict.fromkeys(
            kind for part in syntax.walk(root) if (kind := syntax.constant(part))
        )
        new = {id(use.node): self.instead(use) for use in uses}

        def over(value: object) -> object:
            if isinstance(value, list):
                return [over(item) for item in value]
            if not isinstance(value, dict):
                return value
            if id(value) in new:
                return new[id(value)]
            return {
                key: _named(item, over(item)) if key == "select_list" else over(item)
                for key, item in value.items()
            }

        result = over(root)
        assert isinstance(result, dict)
        return result

    def instead(self, use: Use) -> Node:
        """What stands for a use of a mark."""
        node, origin = use.node, use.origin
        mark = _MARKS[self.tables[origin.table][origin.column]][1]
        if use.asks:
            form = _ASKS[syntax.text_of(node, "type")].format(mark=mark)
            return self.form(form, x=syntax.children(node, "children")[0])
        base = node
        while (inner := leaves.extracted_from(base)) is not None:
            base = inner
        kind = leaves.extract_type(node) or self.tables[origin.table][origin.column]
        place = self.places.setdefault(repr((origin, syntax.bare(node))), len(self.places))
        self.kinds[place] = kind
        y = syntax.column(f"judge_place_{place}")
        return self.form(_VALUE.format(mark=mark, kind=kind), x=base, y=y, z=node)

    def form(self, text: str, **parts: Node) -> Node:
        """An expression with nodes in the place of its columns."""
        if text not in _forms:
            (tree,) = syntax.parse(self.connection, [text])
            assert isinstance(tree, Tree)
            (_forms[text],) = syntax.children(tree.node, "select_list")

        def over(value: object) -> object:
            if isinstance(value, list):
                return [over(item) for item in value]
            if not isinstance(value, dict):
                return value
            names = syntax.names_of(value)
            if names and names[0] in parts:
                return {**parts[names[0]], "alias": ""}
            return {key: over(item) for key, item in value.items()}

        result = over(_forms[text])
        assert isinstance(result, dict)
        return result


def _named(items: object, replaced: object) -> object:
    """Columns of a SELECT under the names that they had."""
    if not isinstance(items, list) or not isinstance(replaced, list):
        return replaced
    return [
        {**new, "alias": old.get("alias") or (syntax.names_of(old) or ("",))[-1]}
        if isinstance(new, dict) and syntax.class_of(old) == "COLUMN_REF"
        else new
        if new is old or not old.get("alias")
        else {**new, "alias": old["alias"]}
        for old, new in zip(items, replaced, strict=True)
    ]


def _is_strict(node: Node) -> bool:
    """Whether a predicate that holds where something in it is NULL holds whatever stands there."""
    name = syntax.text_of(node, "function_name").lower()
    kind = syntax.text_of(node, "type")
    if syntax.class_of(node) and not (
        kind in _STRICT_TYPES or (kind == "FUNCTION" and name in _STRICT)
    ):
        return False
    if kind in _ASKS and syntax.class_of(syntax.children(node, "children")[0]) != "COLUMN_REF":
        return False
    if kind == "LAMBDA" and leaves.extracted_from(node) is None:
        return False
    return all(_is_strict(part) for part in syntax.parts(node))
