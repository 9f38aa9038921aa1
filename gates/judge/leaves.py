"""What a predicate rests on: its leaves, and what may be put in their place to see whether it can fail.

A leaf is a column, or the place in a JSON column that is looked at (`response->>'$.degraded'`): corrupting a
whole answer would say nothing about a predicate that reads one key of it.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from gates.judge import functions, syntax
from gates.judge.checks import is_json_arrow
from gates.judge.syntax import Node

COMMON = frozenset({"run_id", "gate", "seq"})
"""Columns that every row carries; what rests on them alone rests on no observation."""


class Leaf(Struct, frozen=True):
    """One leaf: its node, the column it is in (lower case) and its type, when that is known from the text."""

    node: dict[str, object]
    column: str
    type: str | None


class Split(Struct, frozen=True):
    """An expression with `leaf_0`, `leaf_1`, … in the place of its leaves."""

    rewritten: dict[str, object]
    leaves: tuple[Leaf, ...]
    constants: tuple[tuple[str, str], ...]

    def columns(self) -> tuple[str, ...]:
        """The columns of the evidence that it rests on."""
        return tuple(
            dict.fromkeys(leaf.column for leaf in self.leaves if leaf.column not in COMMON)
        )


def split(node: Node, relation: str) -> Split:
    """`node` apart from what it rests on, in a relation of the given name."""
    found: list[Leaf] = []
    rewritten = _rewrite(node, relation, found, frozenset())
    assert isinstance(rewritten, dict)
    constants = [kind for part in syntax.walk(rewritten) if (kind := syntax.constant(part))]
    return Split(rewritten, tuple(found), tuple(dict.fromkeys(constants)))


def also(node: Node, relation: str, known: Sequence[Leaf]) -> tuple[object, list[Leaf]]:
    """Another expression over the same leaves, and those that it has besides."""
    found = list(known)
    return _rewrite(node, relation, found, frozenset()), found[len(known) :]


def _rewrite(value: object, relation: str, found: list[Leaf], bound: frozenset[str]) -> object:
    if isinstance(value, list):
        return [_rewrite(item, relation, found, bound) for item in value]
    if not isinstance(value, dict):
        return value
    column = leaf_column(value, relation, bound)
    if column is not None:
        return syntax.column(f"leaf_{_index(value, column, found)}")
    if syntax.class_of(value) == "LAMBDA":
        left = syntax.child(value, "lhs")
        bound |= {name.lower() for part in syntax.walk(left) for name in syntax.names_of(part)[:1]}
        return {**value, "expr": _rewrite(value.get("expr"), relation, found, bound)}
    return {key: _rewrite(item, relation, found, bound) for key, item in value.items()}


def _index(node: dict[str, object], column: str, found: list[Leaf]) -> int:
    shape = syntax.bare(node)
    for index, leaf in enumerate(found):
        if syntax.bare(leaf.node) == shape:
            return index
    found.append(Leaf(node, column, extract_type(node)))
    return len(found) - 1


def leaf_column(node: Node, relation: str, bound: frozenset[str]) -> str | None:
    """The column that a leaf is in, or None for what is no leaf."""
    if syntax.class_of(node) == "COLUMN_REF":
        names = [name.lower() for name in syntax.names_of(node)]
        if not names or names[0] in bound:
            return None
        return names[1] if len(names) > 1 and names[0] == relation else names[0]
    base = extracted_from(node)
    return leaf_column(base, relation, bound) if base else None


def extracted_from(node: Node) -> Node | None:
    """What a place in JSON is looked up in; None for any other expression."""
    if is_json_arrow(node):
        return syntax.child(node, "lhs")
    if syntax.text_of(node, "function_name").lower() not in functions.JSON_EXTRACTS:
        return None
    base, *path = syntax.arguments(node)
    return base if all(syntax.constant(part) for part in path) else None


def extract_type(node: Node) -> str | None:
    """The type of a place in JSON; None for a column, whose type its table knows."""
    if syntax.class_of(node) == "COLUMN_REF":
        return None
    one = (
        "JSON"
        if is_json_arrow(node)
        else functions.JSON_EXTRACTS[syntax.text_of(node, "function_name").lower()]
    )
    path = syntax.child(node, "expr") if is_json_arrow(node) else syntax.arguments(node)[-1]
    kind = syntax.constant(path)
    return f"{one}[]" if kind and "*" in kind[1] else one


_NUMBERS = ("-1", "0", "1", "1000000000000000000", "-1000000000000000000")
_VALUES: Mapping[str, tuple[str, ...]] = {
    "VARCHAR": ("'corrupted'", "''", "'1e18'", "'-1e18'", "'true'", "'false'"),
    "BOOLEAN": ("true", "false"),
    "JSON": ("'null'", "'{}'", "'[]'", "'\"corrupted\"'", "'1e18'", "'-1e18'"),
    "TIMESTAMP": ("'1970-01-01'", "'2900-01-01'"),
    "TIMESTAMP WITH TIME ZONE": ("'1970-01-01'", "'2900-01-01'"),
}
_NUMERIC = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UBIGINT",
    "UINTEGER",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)


def corruptions(kind: str, leaf: str, constants: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """SQL to try in the place of a leaf of this type: extremes, what it is compared with, large
    multiples, and something else in every row (`judge_row`)."""
    words = [_quoted(text) for _, text in constants]
    if kind.endswith("[]"):
        tried = ["[]", "['corrupted']", *(f"[{word}]" for word in words)]
    elif kind.startswith(_NUMERIC):
        numbers = [text for name, text in constants if name in ("INTEGER", "NUMERIC")]
        near = [f"{text} {step}" for text in numbers for step in ("", "- 1", "+ 1")]
        tried = [*_NUMBERS, *near, f"{leaf}::DOUBLE * 1e6", f"{leaf}::DOUBLE * -1e6"]
        tried += ["judge_row * 1e12", "judge_row * -1e12"]
    elif kind == "VARCHAR":
        multiples = [
            f"(TRY_CAST({leaf} AS DOUBLE) * {factor})::VARCHAR" for factor in ("1e6", "-1e6")
        ]
        tried = [*_VALUES[kind], *words, *multiples, "judge_row"]
    else:
        tried = list(_VALUES.get(kind, ()))
    return tuple(f"TRY_CAST({value} AS {kind})" for value in dict.fromkeys(tried))


def extreme(kind: str, pick: Callable[[Sequence[str]], str]) -> str:
    """The highest or lowest value (`max` or `min`) of a type, as far as it has one."""
    if kind.startswith(_NUMERIC):
        return f"TRY_CAST({pick(('-1e18', '1e18'))} AS {kind})"
    text = pick(("'-1e18'", "'1e18'"))
    return f"TRY_CAST({text} AS {kind})" if kind in ("VARCHAR", "JSON") else f"NULL::{kind}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_BELOW = {"COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO"}
_ABOVE = {"COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO"}


def upper_limits(parts: Split, columns: frozenset[str]) -> list[float]:
    """Numbers that one of these columns is compared with from below, anywhere in the expression."""
    names = {f"leaf_{i}" for i, leaf in enumerate(parts.leaves) if leaf.column in columns}
    limits = []
    for node in syntax.walk(parts.rewritten):
        name = syntax.text_of(node, "type")
        low, high = syntax.child(node, "left"), syntax.child(node, "right")
        if name in _ABOVE:
            low, high = high, low
        kind = syntax.constant(high)
        if (
            name in _BELOW | _ABOVE
            and names & set(syntax.names_of(low))
            and kind
            and kind[0] in ("INTEGER", "NUMERIC")
        ):
            limits.append(float(kind[1]))
    return limits
