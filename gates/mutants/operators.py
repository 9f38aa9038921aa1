"""What is changed about one syntax node: each operator yields the edits that it knows for a node.

The list is that of mutmut and Cosmic Ray, without what only changes texts for people, and with what a gate is
about: guards that never refuse, calls, awaits and commits that are not made.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from gates.mutants.text import Change, Source

Edit: TypeAlias = tuple[str, tuple[Change, ...]]
"""The operator's name and what it changes."""

_COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[str, str]]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_BOUNDS: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_ARITHMETIC: Final[Mapping[type[ast.operator], tuple[str, str]]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
}
_GUARDING: Final = frozenset({"guards", "opt"})
"""Keyword arguments whose absence lets more through."""

_QUOTE: Final = re.compile(r"[A-Za-z]*('''|\"\"\"|'|\")")
_OTHER: Final = "XX"
"""What is put into a text to make it another one."""


def edits_of(node: ast.AST, source: Source, returns: ast.expr | None) -> Iterator[Edit]:
    """Every edit of this node itself; `returns` is the annotation of the function around it."""
    if isinstance(node, ast.Return):
        yield from _return(node, source, returns)
    for kind, operator in _OPERATORS.items():
        if isinstance(node, kind):
            yield from operator(node, source)


def _test(node: ast.If | ast.While | ast.IfExp | ast.Assert, source: Source) -> Iterator[Edit]:
    yield from _negated(node.test, source)
    if isinstance(node, ast.If) and _is_guard(node):
        yield "guard removed", (source.whole(node.test, "False"),)


def _comprehension(node: ast.comprehension, source: Source) -> Iterator[Edit]:
    for test in node.ifs:
        yield from _negated(test, source)


def _negated(test: ast.expr, source: Source) -> Iterator[Edit]:
    """Not where another operator does the same: to `not x`, to a single `==`, to a constant."""
    negation = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    compared = isinstance(test, ast.Compare) and len(test.ops) == 1
    if compared and isinstance(test, ast.Compare):
        compared = not isinstance(test.ops[0], _BOUNDS)
    if not (negation or compared or isinstance(test, ast.Constant)):
        yield "condition negated", source.around(test, "not (", ")")


def _is_guard(node: ast.If) -> bool:
    """Whether it does nothing but leave, perhaps after a few plain statements."""
    leaves = isinstance(node.body[-1], ast.Raise | ast.Return | ast.Continue | ast.Break)
    plain = all(isinstance(each, ast.Expr | ast.Assign | ast.AnnAssign) for each in node.body[:-1])
    binds = any(isinstance(each, ast.NamedExpr) for each in ast.walk(node.test))
    return leaves and plain and not node.orelse and not binds


def _negation(node: ast.UnaryOp, source: Source) -> Iterator[Edit]:
    if isinstance(node.op, ast.Not):
        start = source.start(node)
        found = re.match(rb"not\s*", source.bytes[start:])
        if found is not None:
            yield "not removed", (Change(start, start + found.end(), ""),)


def _boolean(node: ast.BoolOp, source: Source) -> Iterator[Edit]:
    old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    pairs = zip(node.values, node.values[1:], strict=False)
    changes = [source.between(left, right, old, new) for left, right in pairs]
    yield f"{old} to {new}", tuple(change for change in changes if change is not None)


def _comparison(node: ast.Compare, source: Source) -> Iterator[Edit]:
    operands = [node.left, *node.comparators]
    for index, operator in enumerate(node.ops):
        old, new = _COMPARISONS[type(operator)]
        change = source.between(operands[index], operands[index + 1], old, new)
        if change is not None:
            kind = "bound moved" if isinstance(operator, _BOUNDS) else "comparison negated"
            yield kind, (change,)


def _arithmetic(node: ast.BinOp, source: Source) -> Iterator[Edit]:
    yield from _swapped(node.left, node.op, node.right, source, "")


def _in_place(node: ast.AugAssign, source: Source) -> Iterator[Edit]:
    yield from _swapped(node.target, node.op, node.value, source, "=")


def _swapped(
    left: ast.expr, operator: ast.operator, right: ast.expr, source: Source, suffix: str
) -> Iterator[Edit]:
    """Not of texts and lists: that they cannot be subtracted says nothing about a gate."""
    joined = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
    texts = any(
        isinstance(side, joined)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (left, right)
    )
    if type(operator) in _ARITHMETIC and not texts:
        old, new = _ARITHMETIC[type(operator)]
        change = source.between(left, right, old + suffix, new + suffix)
        if change is not None:
            yield "arithmetic", (change,)


def _statement(node: ast.Expr, source: Source) -> Iterator[Edit]:
    """A call whose value nobody uses is not made."""
    value, awaited = node.value, False
    if isinstance(value, ast.Await):
        value, awaited = value.value, True
    if isinstance(value, ast.Call):
        commits = isinstance(value.func, ast.Attribute) and value.func.attr == "commit"
        kind = "commit dropped" if commits else "await dropped" if awaited else "call dropped"
        yield kind, (source.whole(node, "pass"),)


def _return(node: ast.Return, source: Source, returns: ast.expr | None) -> Iterator[Edit]:
    nothing = isinstance(returns, ast.Constant) and returns.value is None
    if node.value is None or returns is None or nothing:
        return
    if not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield "return None", (source.whole(node.value, "None"),)


def _call(node: ast.Call, source: Source) -> Iterator[Edit]:
    arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
    given = sorted(arguments, key=source.start)
    for index, argument in enumerate(given):
        if not isinstance(argument, ast.keyword) or argument.arg not in _GUARDING:
            continue
        start, end = source.start(argument), source.end(argument)
        if index + 1 < len(given):
            end = source.start(given[index + 1])
        elif index:
            start = source.end(given[index - 1])
        yield "guarding argument removed", (Change(start, end, ""),)


def _constant(node: ast.Constant, source: Source) -> Iterator[Edit]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", (source.whole(node, str(not value)),)
    elif isinstance(value, int | float):
        yield "constant", (source.whole(node, repr(value + 1)),)
        if value != 0:
            yield "constant", (source.whole(node, repr(value * 10)),)
    elif isinstance(value, str | bytes) and value:
        found = _QUOTE.match(source.text(node))
        if found is not None:
            place = source.start(node) + found.end()
            yield "text", (Change(place, place, _OTHER),)


# mypy cannot say that each operator takes the kind of node that it stands beside.
_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Iterator[Edit]]]] = {
    ast.If: _test,
    ast.While: _test,
    ast.IfExp: _test,
    ast.Assert: _test,
    ast.comprehension: _comprehension,
    ast.UnaryOp: _negation,
    ast.BoolOp: _boolean,
    ast.Compare: _comparison,
    ast.BinOp: _arithmetic,
    ast.AugAssign: _in_place,
    ast.Expr: _statement,
    ast.Call: _call,
    ast.Constant: _constant,
}
