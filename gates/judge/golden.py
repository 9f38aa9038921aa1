"""Comparisons of a whole answer with a literal: what a gate may only do when it says `golden: true`.

An answer that is compared with a text pins everything that stands in it, whether the claim is about it or not.
Each expression is followed to see how much of an answer it carries, and how much of what the author wrote: through
casts, digests, lists, named queries, joins and tables of `data`. Answers compared with each other are fine, and so
are fields of one, short words looked for in one, its length and whether it is empty.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum

import msgspec
from msgspec import Struct

from gates.judge import functions, syntax
from gates.judge.checks import is_json_arrow
from gates.judge.syntax import Node

LONG = 120
"""A literal of more characters than these is no word that is looked for: it is a page that was copied."""


class Part(IntEnum):
    """How much of an answer an expression carries."""

    NONE = 0
    PIECE = 1
    WHOLE = 2


class Kind(Struct, frozen=True):
    """What an expression is made of: how much of an answer, whether of nothing but literals, and of how many
    characters of them."""

    part: Part = Part.NONE
    fixed: bool = False
    written: int = 0


_OTHER = Kind()
Columns = Mapping[str, Kind]
"""What the columns of a relation are made of, by name in lower case; a name that is missing carries nothing."""

EVIDENCE: Mapping[str, Columns] = {
    "requests": {"response": Kind(Part.WHOLE), "headers": Kind(Part.PIECE)},
    "frames": {"json": Kind(Part.WHOLE)},
    "commands": {"output": Kind(Part.PIECE), "errors": Kind(Part.PIECE)},
    "rows": {"row": Kind(Part.PIECE)},
}
"""Columns that hold what was answered. Of what a command printed and of a row only a long literal is a copy."""

_DIGESTS = frozenset({"md5", "sha1", "sha256"})
_MEASURES = functions.COUNTS | frozenset({
    "length", "len", "strlen", "char_length", "octet_length", "json_array_length", "json_type", "json_valid",
    "json_keys", "json_exists", "typeof", "array_length", "cardinality", "list_count", "row_number", "rank",
    "dense_rank", "ntile", "cume_dist", "percent_rank",
})  # fmt: skip
"""What says something about an answer and carries nothing of it."""
_CUTS = frozenset({
    "left", "right", "substr", "substring", "split_part", "string_split", "str_split", "split", "regexp_extract",
    "regexp_extract_all", "regexp_split_to_array", "list_slice", "array_slice", "list_extract", "array_extract",
    "list_element", "struct_extract", "element_at", "map_extract", "map_keys", "map_values", "list_filter", "ascii",
    "unicode", "ord", "from_json", "from_json_strict", "json_transform", "json_transform_strict",
})  # fmt: skip
_SAME = frozenset({
    "nullif", "list_contains", "array_contains", "list_has", "list_has_any", "list_has_all", "array_has_any",
    "array_has_all", "list_position", "list_intersect", "levenshtein", "map_extract", "element_at", "@>", "<@", "&&",
})  # fmt: skip
"""Functions that find out whether two things are the same."""
_LIKES = frozenset({"~~", "!~~", "~~*", "!~~*", "~~~", "like_escape", "not_like_escape", "ilike_escape",
                    "not_ilike_escape"})  # fmt: skip
_EXPRESSIONS = frozenset({"regexp_matches", "regexp_full_match"})
_TESTS = _LIKES | _EXPRESSIONS | frozenset({
    "list_contains", "array_contains", "list_has", "list_has_any", "list_has_all", "array_has_any", "array_has_all",
    "list_position", "levenshtein", "@>", "<@", "&&", "starts_with", "ends_with", "prefix", "suffix", "contains",
    "position", "strpos", "instr", "json_contains",
})  # fmt: skip
"""Functions that answer yes or no, or where."""
_TRUTHS = frozenset({
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN",
})  # fmt: skip
_JOINING = frozenset(
    {"||", "concat", "concat_ws", "json_object", "json_array", "row", "struct_pack"}
)
"""Functions that make one text of several."""
_SLICES = frozenset({"ARRAY_SLICE", "ARRAY_EXTRACT", "STRUCT_EXTRACT"})
_ALL_OF_IT = re.compile(r"[$.*\[\]#/ -]*")
"""A path into JSON that names no key leads to all of it."""


class Scope(Struct, frozen=True):
    """What names stand for in one place: relations by name, columns by table, and where else to look for them."""

    relations: Mapping[str, Columns]
    tables: Mapping[str, Columns] = {}
    aliases: Columns = {}
    outer: "Scope | None" = None

    def column(self, names: Sequence[str]) -> Kind:
        """What a column reference is made of."""
        table, *inside = names
        if inside and table in self.tables:
            return _field(self.tables[table].get(inside[0], _OTHER), inside[1:])
        # No table: the first name is the column, and others are fields of it.
        found = [columns[table] for columns in self.tables.values() if table in columns]
        if not found and table in self.aliases:
            found = [self.aliases[table]]
        if not found and self.outer is not None:
            return self.outer.column(names)
        return _field(_together(found), inside)


def _field(kind: Kind, names: Sequence[str]) -> Kind:
    return _cut(kind) if names else kind


def _together(kinds: Iterable[Kind]) -> Kind:
    """What an expression over some others is made of."""
    found = list(kinds)
    if not found:
        return _OTHER
    return Kind(
        part=max(kind.part for kind in found),
        fixed=all(kind.fixed for kind in found),
        written=max(kind.written for kind in found),
    )


def is_copy(left: Kind, right: Kind) -> bool:
    """Whether comparing these two compares an answer with what was written down."""
    answer, text = (left, right) if left.part >= right.part else (right, left)
    if text.part is not Part.NONE or answer.part is Part.NONE:
        return False
    short = answer.part is Part.WHOLE and text.fixed and text.written > 0
    return short or text.written > LONG


class Golden:
    """Follows answers and literals through one gate's SQL; `found` are the nodes that compare them."""

    def __init__(self, data: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
        self.found: list[Node] = []
        self.relations: dict[str, Columns] = {**EVIDENCE}
        self.relations |= {name: _columns_of(rows) for name, rows in data.items()}
        self._classes: Mapping[str, Callable[[Node, Scope], Kind]] = {
            "CONSTANT": self._constant,
            "COLUMN_REF": self._column,
            "COMPARISON": self._comparison,
            "BETWEEN": self._between,
            "OPERATOR": self._operator,
            "FUNCTION": self._function,
            "WINDOW": self._function,
            "LAMBDA": self._arrow,
            "CASE": self._case,
            "CAST": self._cast,
            "SUBQUERY": self._subquery,
        }

    def query(self, node: Node, outer: Scope | None = None) -> dict[str, Kind]:
        """Look at a query; returns what its columns are made of, in their order."""
        relations = outer.relations if outer is not None else self.relations
        for entry in syntax.children(syntax.child(node, "cte_map"), "map"):
            inner = syntax.child(syntax.child(entry, "value"), "query_node")
            own = self.query(inner, Scope(relations, outer=outer))
            own = _renamed(own, syntax.child(entry, "value").get("aliases"))
            relations = {**relations, syntax.text_of(entry, "key").lower(): own}
        if syntax.text_of(node, "type") == "SET_OPERATION_NODE":
            return self._set_operation(node, Scope(relations, outer=outer))
        tables: dict[str, Columns] = {}
        scope = Scope(relations, tables, outer=outer)
        joins = list(self._tables(syntax.child(node, "from_table"), tables, scope))
        columns: dict[str, Kind] = {}
        named = Scope(relations, tables, columns, outer)
        for number, item in enumerate(syntax.children(node, "select_list")):
            if syntax.class_of(item) == "STAR":
                columns |= _stars(item, tables)
            else:
                columns[_name_of(item, number)] = self.kind(item, named)
        for key in ("where_clause", "having", "qualify"):
            self.kind(syntax.child(node, key), named)
        for part in [*joins, *syntax.children(node, "modifiers"), *_groups(node)]:
            self.kind(part, named)
        return columns

    def kind(self, node: Node, scope: Scope) -> Kind:
        """What an expression is made of; comparisons on the way are noted."""
        handler = self._classes.get(syntax.class_of(node))
        if handler is not None:
            return handler(node, scope)
        if syntax.text_of(node, "type") in {"SELECT_NODE", "SET_OPERATION_NODE"}:
            return _together(self.query(node, scope).values())
        kinds = [self.kind(part, scope) for part in syntax.parts(node)]
        return _OTHER if syntax.class_of(node) == "CONJUNCTION" else _together(kinds)

    def _note(self, node: Node, left: Kind, right: Kind) -> None:
        if is_copy(left, right):
            self.found.append(node)

    def _tables(self, node: Node, tables: dict[str, Columns], scope: Scope) -> Iterator[Node]:
        """Fill in what can be read, and yield the conditions of joins."""
        name = syntax.text_of(node, "alias").lower()
        kind = syntax.text_of(node, "type")
        if kind == "BASE_TABLE":
            table = syntax.text_of(node, "table_name").lower()
            tables[name or table] = scope.relations.get(table, {})
        elif kind == "SUBQUERY":
            inner = syntax.child(syntax.child(node, "subquery"), "node")
            own = self.query(inner, Scope(scope.relations, outer=scope))
            tables[name] = _renamed(own, node.get("column_name_alias"))
        elif kind == "JOIN":
            left: dict[str, Columns] = {}
            right: dict[str, Columns] = {}
            yield from self._tables(syntax.child(node, "left"), left, scope)
            yield from self._tables(syntax.child(node, "right"), right, scope)
            self._using(node, left, right)
            tables |= {**left, **right}
            yield syntax.child(node, "condition")

    def _using(self, node: Node, left: Mapping[str, Columns], right: Mapping[str, Columns]) -> None:
        """`USING (a)` and NATURAL compare columns of the same name."""
        one, other = _all_of(left), _all_of(right)
        shared = one.keys() & other.keys()
        if syntax.text_of(node, "ref_type") != "NATURAL":
            value = node.get("using_columns")
            shared &= {str(name).lower() for name in value} if isinstance(value, list) else set()
        for name in sorted(shared):
            self._note(node, one[name], other[name])

    def _set_operation(self, node: Node, scope: Scope) -> dict[str, Kind]:
        sides = [self.query(child, scope) for child in _sides(node)]
        compares = syntax.text_of(node, "setop_type") in {"EXCEPT", "INTERSECT"}
        columns = dict(sides[0]) if sides else {}
        for side in sides[1:]:
            for name, kind in zip(list(columns), side.values(), strict=False):
                if compares:
                    self._note(node, columns[name], kind)
                columns[name] = _together([columns[name], kind])
        for part in syntax.children(node, "modifiers"):
            self.kind(part, scope)
        return columns

    def _constant(self, node: Node, _scope: Scope) -> Kind:
        found = syntax.constant(node)
        nothing = found is None or found[0] == "NULL_LITERAL"
        return Kind(fixed=True, written=0 if nothing or found is None else len(found[1]))

    def _column(self, node: Node, scope: Scope) -> Kind:
        names = [name.lower() for name in syntax.names_of(node)]
        return scope.column(names) if names else _OTHER

    def _comparison(self, node: Node, scope: Scope) -> Kind:
        left, right = (self.kind(syntax.child(node, key), scope) for key in ("left", "right"))
        self._note(node, left, right)
        return _OTHER

    def _between(self, node: Node, scope: Scope) -> Kind:
        value, *ends = (
            self.kind(syntax.child(node, k), scope) for k in ("input", "lower", "upper")
        )
        for end in ends:
            self._note(node, value, end)
        return _OTHER

    def _operator(self, node: Node, scope: Scope) -> Kind:
        kinds = [self.kind(part, scope) for part in syntax.children(node, "children")]
        name = syntax.text_of(node, "type")
        if name in {"COMPARE_IN", "COMPARE_NOT_IN", "ARRAY_EXTRACT"}:
            for other in kinds[1:]:
                self._note(node, kinds[0], other)
        if name in _SLICES:
            return _cut(_together(kinds[:1]))
        return _OTHER if name in _TRUTHS else _together(kinds)

    def _function(self, node: Node, scope: Scope) -> Kind:
        name = syntax.text_of(node, "function_name").lower()
        given = syntax.arguments(node)
        kinds = [self.kind(argument, scope) for argument in given]
        for key in ("filter", "order_bys"):
            self.kind(syntax.child(node, key), scope)
        for part in [*syntax.children(node, "partitions"), *syntax.children(node, "orders")]:
            self.kind(part, scope)
        if name in functions.JSON_EXTRACTS:
            return _reached(kinds[0], given[1:]) if kinds else _OTHER
        self._searched(node, name, given, kinds)
        return _made_of(name, kinds)

    def _searched(
        self, node: Node, name: str, given: Sequence[Node], kinds: Sequence[Kind]
    ) -> None:
        """Functions compare, too: those that say so, any with a pattern that leaves nothing open, and any with a
        long literal."""
        if len(kinds) < 2:
            return
        literal = _is_literal_pattern(name, given[1])
        for other in kinds[1:]:
            compares = name in _SAME or literal or max(kinds[0].written, other.written) > LONG
            if compares and is_copy(kinds[0], other):
                self.found.append(node)
                return

    def _arrow(self, node: Node, scope: Scope) -> Kind:
        if is_json_arrow(node):
            return _reached(
                self.kind(syntax.child(node, "lhs"), scope), [syntax.child(node, "expr")]
            )
        return self.kind(syntax.child(node, "expr"), scope)

    def _cast(self, node: Node, scope: Scope) -> Kind:
        return self.kind(syntax.child(node, "child"), scope)

    def _case(self, node: Node, scope: Scope) -> Kind:
        checks = syntax.children(node, "case_checks")
        for check in checks:
            self.kind(syntax.child(check, "when_expr"), scope)
        values = [syntax.child(check, "then_expr") for check in checks]
        return _together(
            [self.kind(each, scope) for each in [*values, syntax.child(node, "else_expr")]]
        )

    def _subquery(self, node: Node, scope: Scope) -> Kind:
        columns = self.query(syntax.child(syntax.child(node, "subquery"), "node"), scope)
        inside = _together(columns.values())
        if syntax.text_of(node, "subquery_type") == "SCALAR":
            return inside
        self._note(node, self.kind(syntax.child(node, "child"), scope), inside)
        return _OTHER


def _made_of(name: str, kinds: Sequence[Kind]) -> Kind:
    """What the value of a function is made of."""
    whole = _together(kinds)
    if name in _JOINING:
        whole = msgspec.structs.replace(whole, written=sum(kind.written for kind in kinds))
    if name in _MEASURES | _TESTS:
        return _OTHER
    if name in _DIGESTS and whole.part is not Part.NONE:
        return Kind(Part.WHOLE)
    return _cut(_together(kinds[:1])) if name in _CUTS else whole


def _is_literal_pattern(name: str, pattern: Node) -> bool:
    """Whether a pattern matches one text only."""
    found = syntax.constant(pattern)
    if found is None:
        return False
    if name in _LIKES:
        return not set(found[1]) & set("%_*?[")
    whole = name == "regexp_full_match" or (found[1].startswith("^") and found[1].endswith("$"))
    return name in _EXPRESSIONS and whole and not set(found[1]) & set("*+")


def _reached(base: Kind, path: Sequence[Node]) -> Kind:
    """What a place in JSON carries: a piece, unless the path leads to all of it."""
    found = syntax.constant(path[0]) if len(path) == 1 else None
    all_of_it = found is not None and found[0] == "STRING" and _ALL_OF_IT.fullmatch(found[1])
    return base if all_of_it else _cut(base)


def _cut(kind: Kind) -> Kind:
    return Kind(min(kind.part, Part.PIECE), kind.fixed, kind.written)


def _columns_of(rows: Sequence[Mapping[str, object]]) -> Columns:
    """Columns of a table of `data`: literals as long as the longest of them."""
    lengths: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            written = (
                len(value if isinstance(value, str) else str(value)) if value is not None else 0
            )
            lengths[name.lower()] = max(lengths.get(name.lower(), 0), written)
    return {name: Kind(fixed=True, written=length) for name, length in lengths.items()}


def _renamed(columns: dict[str, Kind], names: object) -> dict[str, Kind]:
    """`t(a, b)`: columns under other names, in their order, as far as they are known."""
    given = [str(name).lower() for name in names] if isinstance(names, list) else []
    return dict(zip([*given, *list(columns)[len(given) :]], columns.values(), strict=False))


def _all_of(tables: Mapping[str, Columns]) -> dict[str, Kind]:
    """All columns of some tables."""
    return {name: kind for columns in tables.values() for name, kind in columns.items()}


def _stars(item: Node, tables: Mapping[str, Columns]) -> dict[str, Kind]:
    wanted = syntax.text_of(item, "relation_name").lower()
    return _all_of({name: each for name, each in tables.items() if wanted in ("", name)})


def _name_of(item: Node, number: int) -> str:
    names = syntax.names_of(item)
    own = names[-1] if names else f"column {number}"
    return (syntax.text_of(item, "alias") or own).lower()


def _sides(node: Node) -> list[Node]:
    return syntax.children(node, "children") or [
        syntax.child(node, key) for key in ("left", "right") if syntax.child(node, key)
    ]


def _groups(node: Node) -> list[Node]:
    return syntax.children(node, "group_expressions")
