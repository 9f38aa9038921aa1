"""Users' SQL as a tree: read with DuckDB's own parser, walked, and written back as text.

The tree is what `json_serialize_sql` gives: nested objects, where an expression has a `class` and a `type`
and everything else a `type`. It is data of DuckDB, so it is kept as plain mappings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import duckdb
import msgspec
from msgspec import Struct

from gates.judge.wording import TOO_DEEP, plain

Node = Mapping[str, object]

_NO_LOCATION = 2**64 - 1


class SyntaxProblem(Struct, frozen=True):
    """Why a text is no single SELECT. `offset` is in bytes into what was parsed, when DuckDB gives it."""

    message: str
    offset: int | None


class Tree(Struct, frozen=True):
    """One parsed SELECT: its query node."""

    node: dict[str, object]


class _Statement(Struct, frozen=True):
    node: dict[str, object]


class _Serialized(Struct, frozen=True):
    error: bool
    statements: list[_Statement] = []
    error_type: str = ""
    error_message: str = ""
    position: str | None = None


_DECODER = msgspec.json.Decoder(_Serialized)


def parse(
    connection: duckdb.DuckDBPyConnection, texts: Sequence[str]
) -> list[Tree | SyntaxProblem]:
    """The trees of many texts, in one call, since a call costs more than a text."""
    if not texts:
        return []
    answers = connection.execute(
        "SELECT json_serialize_sql(text) FROM (SELECT unnest(?) AS text)", [list(texts)]
    ).fetchall()
    return [_parsed(str(answer)) for (answer,) in answers]


_MOST_DEEP = 300
"""How many objects and lists may stand inside of each other in a tree, which is walked by functions that call themselves."""
_LEAST_CHARACTERS = 40
"""No level of a tree takes less."""


def _parsed(answer: str) -> Tree | SyntaxProblem:
    try:
        decoded = _DECODER.decode(answer)
    except RecursionError:
        return SyntaxProblem(TOO_DEEP, None)
    if len(answer) > _MOST_DEEP * _LEAST_CHARACTERS and _is_deep(decoded):
        return SyntaxProblem(TOO_DEEP, None)
    if decoded.error and decoded.error_type == "parser":
        position = int(decoded.position) if decoded.position else None
        return SyntaxProblem(plain(decoded.error_message), position)
    if decoded.error:
        return SyntaxProblem("only SELECT is allowed here", None)
    if len(decoded.statements) != 1:
        return SyntaxProblem(f"expected one statement, not {len(decoded.statements)}", None)
    return Tree(decoded.statements[0].node)


def _is_deep(decoded: _Serialized) -> bool:
    level: list[Iterable[object]] = [statement.node for statement in decoded.statements]
    for _ in range(_MOST_DEEP):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [one for values in inner for one in values if isinstance(one, dict | list) and one]
        if not level:
            return False
    return True


def render(connection: duckdb.DuckDBPyConnection, expressions: Sequence[Node]) -> list[str]:
    """Each expression as SQL text, in one call."""
    if not expressions:
        return []
    documents = [msgspec.json.encode(_select(expression)).decode() for expression in expressions]
    answers = connection.execute(
        "SELECT json_deserialize_sql(document) FROM (SELECT unnest(?) AS document)", [documents]
    ).fetchall()
    return [str(answer).removeprefix("SELECT ") for (answer,) in answers]


def render_queries(connection: duckdb.DuckDBPyConnection, nodes: Sequence[Node]) -> list[str]:
    """Each query as SQL text, in one call."""
    if not nodes:
        return []
    documents = [
        msgspec.json.encode(
            {"error": False, "statements": [{"node": node, "named_param_map": []}]}
        ).decode()
        for node in nodes
    ]
    answers = connection.execute(
        "SELECT json_deserialize_sql(document) FROM (SELECT unnest(?) AS document)", [documents]
    ).fetchall()
    return [str(answer) for (answer,) in answers]


def _select(expression: Node) -> dict[str, object]:
    node: dict[str, object] = {
        "type": "SELECT_NODE",
        "modifiers": [],
        "cte_map": {"map": []},
        "select_list": [expression],
        "from_table": {
            "type": "EMPTY",
            "alias": "",
            "sample": None,
            "query_location": _NO_LOCATION,
            "query_location_length": 0,
        },
        "where_clause": None,
        "group_expressions": [],
        "group_sets": [],
        "aggregate_handling": "STANDARD_HANDLING",
        "having": None,
        "sample": None,
        "qualify": None,
    }
    return {"error": False, "statements": [{"node": node, "named_param_map": []}]}


def column(name: str) -> dict[str, object]:
    """A reference to a column, to stand in a tree."""
    return {
        "class": "COLUMN_REF",
        "type": "COLUMN_REF",
        "alias": "",
        "query_location": _NO_LOCATION,
        "query_location_length": 0,
        "column_names": [name],
    }


def text_of(node: Node, key: str) -> str:
    """The text under `key`, empty when there is none."""
    value = node.get(key)
    return value if isinstance(value, str) else ""


def child(node: Node, key: str) -> Node:
    """The object under `key`, empty when there is none."""
    value = node.get(key)
    return value if isinstance(value, dict) else {}


def children(node: Node, key: str) -> list[Node]:
    """The objects of the list under `key`."""
    value = node.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def names_of(node: Node) -> tuple[str, ...]:
    """The dotted name of a column reference."""
    value = node.get("column_names")
    return tuple(str(name) for name in value) if isinstance(value, list) else ()


def words(root: Node) -> frozenset[str] | None:
    """All words of a tree that can name a column, in lower case; None where it takes the columns that there are."""
    found: set[str] = set()
    relations: set[str] = set()
    alone: set[str] = set()
    for node in walk(root):
        kind = node.get("class")
        if kind == "STAR" or node.get("ref_type") == "NATURAL":
            return None
        if kind == "COLUMN_REF":
            names = [name.lower() for name in names_of(node)]
            found.update(names)
            alone.update(names if len(names) == 1 else ())
        elif not kind:
            relations |= {text_of(node, "table_name").lower(), text_of(node, "alias").lower()}
            using = node.get("using_columns")
            found |= {str(name).lower() for name in using} if isinstance(using, list) else set()
    # The name of a relation alone is a whole row of it.
    return None if alone & (relations - {""}) else frozenset(found)


def arguments(node: Node) -> list[Node]:
    """The argument expressions of a function."""
    return [child(argument, "expression") for argument in children(node, "arguments")]


def offset_of(node: Node) -> int | None:
    """Where a node starts in the text that was parsed, in bytes, when DuckDB says so."""
    value = node.get("query_location")
    return value if isinstance(value, int) and value != _NO_LOCATION else None


def class_of(node: Node) -> str:
    """The class of an expression, empty for what is none."""
    return text_of(node, "class")


def parts(node: Node) -> list[Node]:
    """The objects directly below, through lists; nothing below a constant or a type."""
    found: list[Node] = []
    if node.get("class") not in ("CONSTANT", "TYPE"):
        _gather(node.values(), found)
    return found


def _gather(values: Iterable[object], found: list[Node]) -> None:
    for value in values:
        # Most are texts and empty lists; this is asked of every node many times.
        if type(value) is dict:
            found.append(value)
        elif type(value) is list and value:
            _gather(value, found)


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    left = [node]
    while left:
        node = left.pop()
        yield node
        left.extend(reversed(parts(node)))


def bare(value: object) -> object:
    """The value without places in the text: equal for expressions that are written alike."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if not k.startswith("query_location")}
    return [bare(item) for item in value] if isinstance(value, list) else value


def constant(node: Node) -> tuple[str, str] | None:
    """Kind and text of a constant: ('NUMERIC', '0.95'), ('STRING', 'x'), or None for anything else."""
    literal = child(node, "literal")
    if class_of(node) != "CONSTANT" or not literal:
        return None
    return text_of(literal, "kind"), text_of(literal, "text")


def constants(nodes: Iterable[Node]) -> tuple[tuple[str, str], ...]:
    """All constants of some trees, each once."""
    found = (constant(part) for node in nodes for part in walk(node))
    return tuple(dict.fromkeys(one for one in found if one))
