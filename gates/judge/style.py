"""The style of a gate's SQL: literals that are copies of pages, and answers that are compared with a literal."""

from collections.abc import Iterator, Sequence

import duckdb
from msgspec import Struct

from gates.judge import comparator, drafts, syntax
from gates.judge.comparator import EqualsQuery
from gates.judge.golden import LONG, Golden
from gates.judge.problem import Problem, Source
from gates.judge.syntax import Node, Tree
from gates.spec.assertion import Assertion, Judged

COPIED = (
    "a whole answer is compared with a literal; compare the fields that the claim is about, or two answers with each"
    " other (`golden: true` allows it, and belongs into a test)"
)
TOO_LONG = (
    f"this literal has {{length}} characters, more than {LONG}: compare the fields that the claim is about, and move"
    " what is not part of it into a test"
)


class Style(Struct, frozen=True):
    """Comparisons of answers with copies of them, and long literals."""

    copies: list[Problem]
    long: list[Problem]


def style_of(connection: duckdb.DuckDBPyConnection, judged: Judged) -> Style:
    """Both of one gate. The connection is used as a parser only.

    SQL that cannot be read is left to the compiler, which says why.
    """
    sources = list(_sources(judged))
    trees = syntax.parse(connection, [source.sql() for source in sources])
    parsed = [
        (source, tree.node)
        for source, tree in zip(sources, trees, strict=True)
        if isinstance(tree, Tree)
    ]
    return Style(list(_copies(judged, parsed)), list(_long_literals(parsed)))


def _sources(judged: Judged) -> Iterator[Source]:
    for name, named in judged.with_.items():
        yield Source(f"with.{name}.query", named.query)
    for index, assertion in enumerate(judged.asserts):
        yield from _sources_of(index, assertion)


def _sources_of(index: int, assertion: Assertion) -> Iterator[Source]:
    """What is under `from`, then what is asked of its rows as a query of them, then the query of `is`."""
    where = f"assert.{index}"
    yield Source(f"{where}.from", assertion.from_, drafts.FROM)
    for test, text in drafts.tests_of(assertion).items():
        yield Source(f"{where}.{test}", text, drafts.SELECT)
    try:
        found = comparator.parse(assertion.is_ or "")
    except ValueError:
        return
    if isinstance(found, EqualsQuery):
        yield Source(f"{where}.is", found.query, shift=found.offset)


def _copies(judged: Judged, parsed: Sequence[tuple[Source, Node]]) -> Iterator[Problem]:
    golden = Golden(judged.data)
    table: object = None
    for source, node in parsed:
        before = len(golden.found)
        if source.where.startswith("with."):
            golden.relations[source.where.split(".")[1]] = golden.query(node)
        elif source.where.endswith(".from"):
            table = node.get("from_table")
            golden.query(node)
        else:
            golden.query(node if source.where.endswith(".is") else {**node, "from_table": table})
        for found in golden.found[before:]:
            yield source.problem("golden", COPIED, syntax.offset_of(found))


def _long_literals(parsed: Sequence[tuple[Source, Node]]) -> Iterator[Problem]:
    for source, node in parsed:
        for part in syntax.walk(node):
            constant = syntax.constant(part)
            if constant is not None and len(constant[1]) > LONG:
                message = TOO_LONG.format(length=len(constant[1]))
                yield source.problem("long", message, syntax.offset_of(part))
