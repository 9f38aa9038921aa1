"""Texts that SQL compares with columns of evidence, or looks for in their lists: names, which can be misspelt."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from chaos.evidence import schema
from gates.judge import syntax
from gates.judge.problem import Source, Text
from gates.judge.relations import Origin
from gates.judge.scopes import From
from gates.judge.syntax import Node


class Compared(Struct, frozen=True):
    """A text in SQL, and the column that it is compared with."""

    node: Node
    origin: Origin
    ordered: bool = False

    def told(self, source: Source) -> "Text":
        """Where that is."""
        found = source.problem("name", self.text, syntax.offset_of(self.node))
        place = found.where, found.offset
        return Text(self.origin.table, self.origin.column, self.text, *place, self.ordered)

    @property
    def text(self) -> str:
        """What stands there."""
        kind = syntax.constant(self.node)
        return kind[1] if kind else ""


_COMPARISONS = frozenset(
    {
        "COMPARE_EQUAL",
        "COMPARE_NOTEQUAL",
        "COMPARE_DISTINCT_FROM",
        "COMPARE_NOT_DISTINCT_FROM",
        "COMPARE_IN",
        "COMPARE_NOT_IN",
    }
)
_ORDERS = frozenset({
    "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_BETWEEN",
})  # fmt: skip
_SEARCHES = frozenset({
    "contains", "list_contains", "list_has", "array_contains", "list_position", "list_has_any", "list_has_all",
    "array_has_any", "array_has_all", "@>", "<@", "&&",
})  # fmt: skip
"""Functions that look for texts in a list; `contains` of a text looks for a part of it."""

_PASSING = frozenset({
    "list_sort", "list_reverse_sort", "list_reverse", "list_distinct", "list_slice", "array_slice", "list_filter",
})  # fmt: skip
"""Functions that give a list of nothing but what is in another one."""

_ELEMENTS = frozenset(
    {"unnest", "list_extract", "array_extract", "list_element", "list_min", "list_max"}
)
"""Functions that give something out of a list."""

_COLLECTING = frozenset({"list", "array_agg"})
_CHOOSING = frozenset({"min", "max"})


def compared(node: Node, behind: From) -> Iterator[Compared]:
    """What one expression compares itself; not what those inside of it do."""
    kind = syntax.text_of(node, "type")
    if kind in _COMPARISONS:
        yield from _pairs(_sides(node), behind)
    elif kind in _ORDERS:
        for one in _pairs(_sides(node), behind):
            yield msgspec.structs.replace(one, ordered=True)
    elif syntax.text_of(node, "function_name").lower() in _SEARCHES:
        given = syntax.arguments(node)
        if syntax.text_of(node, "function_name").lower() != "contains" or _is_list(
            given[0], behind
        ):
            yield from _pairs(given, behind)


def _sides(node: Node) -> list[Node]:
    if syntax.text_of(node, "type") == "COMPARE_BETWEEN":
        return [syntax.child(node, side) for side in ("input", "lower", "upper")]
    return syntax.children(node, "children") or [
        syntax.child(node, side) for side in ("left", "right")
    ]


def _pairs(sides: Sequence[Node], behind: From) -> Iterator[Compared]:
    rows = [_members(side, "row") for side in sides]
    if all(rows):
        for column in zip(*rows, strict=False):
            yield from _pairs(column, behind)
        return
    for side in sides:
        origin = element_of(side, behind)
        if origin is not None:
            own = {syntax.constant(part) for part in syntax.walk(side)}
            texts = (text for other in sides if other is not side for text in _texts(other))
            yield from (
                Compared(text, origin) for text in texts if syntax.constant(text) not in own
            )


def _members(node: Node, function: str) -> list[Node]:
    is_one = syntax.text_of(node, "function_name").lower() == function
    return syntax.arguments(node) if is_one else []


def _texts(node: Node) -> list[Node]:
    """The text that a node is, or the texts of the list that it is."""
    if syntax.class_of(node) == "CAST":
        return _texts(syntax.child(node, "child"))
    own = [node, *_members(node, "list_value")]
    return [one for one in own if (syntax.constant(one) or ("", ""))[0] == "STRING"]


def element_of(node: Node, behind: From) -> Origin | None:
    """The column that holds whatever an expression gives, as it is or in its lists."""
    kind, name = syntax.class_of(node), syntax.text_of(node, "function_name").lower()
    if kind == "COLUMN_REF":
        return behind.comes_from(node)
    if kind == "CAST":
        return element_of(syntax.child(node, "child"), behind)
    if syntax.text_of(node, "type") == "OPERATOR_COALESCE":
        first, *others = syntax.children(node, "children")
        return element_of(first, behind) if all(map(syntax.constant, others)) else None
    taken = next(iter(syntax.arguments(node) or syntax.children(node, "children")), None)
    if taken is None:
        return None
    is_element = syntax.text_of(node, "type") == "ARRAY_EXTRACT" or name in _ELEMENTS
    if name in _COLLECTING | _CHOOSING or (
        (is_element or name in _PASSING) and _is_list(taken, behind)
    ):
        return element_of(taken, behind)
    return None


def _is_list(node: Node, behind: From) -> bool:
    """Whether an expression is a list of the evidence, or one that is made of a column."""
    if syntax.class_of(node) == "FUNCTION":
        return syntax.text_of(node, "function_name").lower() in _PASSING | _COLLECTING
    origin = behind.comes_from(node)
    if origin is None or origin.table not in schema.TABLES:
        return False
    return schema.sealed_columns(origin.table)[origin.column].endswith("[]")
