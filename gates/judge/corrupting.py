"""Evidence as it could have been instead: what the tables behind an assertion might have held (rule 18).

Only what is admissible: a column that the harness always fills is not NULL, one that holds one of some words holds one of
these, and no row says of itself that it belongs to another run.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence

import msgspec

from chaos.evidence import schema
from gates.judge import leaves, tables
from gates.judge.binding import Bound
from gates.judge.worlds import HALF, TWICE, Change, World

_MOST_CONSTANTS = 8
_SHIFTS = 3
_PATH = re.compile(r"\.(?:\"([^\"]+)\"|([A-Za-z_]\w*))|\[(\*|\d+)\]")
_FEW = {"VARCHAR": ("'other ' || seq",), "JSON": ("'{}'",), "BOOLEAN": ("true", "false")}
_NUMBERS = ("-1", "0", "1000000000000", "seq * 1000000")

Constants = Sequence[tuple[str, str]]


def together(bound: Bound, constants: Constants, words: Container[str]) -> Iterator[World]:
    """What many assertions are tried in at once: in every row one column holds something else, or there are more rows, or fewer.

    First the columns that the `words` of the SQL name, which turns most and costs little; at last all columns, and all
    that the SQL compares with.
    """
    for shift in range(_SHIFTS):
        yield World(f"named {shift}", _mixing(bound, constants, shift, words))
    for shift in range(_SHIFTS):
        yield World(f"mixed {shift}", _mixing(bound, (), shift))
    yield from (TWICE, HALF)
    for shift in range(_SHIFTS):
        yield World(f"compared {shift}", _mixing(bound, constants, shift))


def counted(reads: Iterable[str]) -> Iterator[World]:
    """More rows and fewer of one table after the other."""
    for name in sorted(reads):
        for world in (TWICE, HALF, _TAIL):
            yield World(f"{world.name} of {name}", _only(name, world.change))


_TAIL = World("tail", lambda rows, *_: f"FROM ({rows}) WHERE seq > (SELECT min(seq) FROM ({rows}))")


def whole(
    bound: Bound, reads: Iterable[str], constants: Constants, words: Container[str]
) -> Iterator[World]:
    """One column of one table holds something else in every row: first those that the `words` of the SQL name."""
    found = [
        (name, column, value)
        for name in sorted(reads)
        for column, value in _pairs(bound, name, constants)
    ]
    for name, column, value in sorted(found, key=lambda one: one[1].lower() not in words):
        yield World(f"{name}.{column}", _only(name, _setting(column, value)))


def _only(name: str, change: Change) -> Change:
    def apart(rows: str, table: str, kinds: dict[str, str]) -> str:
        return change(rows, table, kinds) if table == name else rows

    return apart


def _setting(column: str, value: str) -> Change:
    def change(rows: str, _name: str, kinds: dict[str, str]) -> str:
        new = _admissible(value, column, kinds[column])
        return f"SELECT * REPLACE ({new} AS {tables.quoted(column)}) FROM ({rows})"

    return change


def _mixing(
    bound: Bound, constants: Constants, shift: int, words: Container[str] | None = None
) -> Change:
    """In every row another column holds something else: one of all, or of those that are named."""

    def change(rows: str, name: str, kinds: dict[str, str]) -> str:
        pairs = [
            (column, value)
            for column, value in _pairs(bound, name, constants)
            if words is None or column.lower() in words
        ]
        if not pairs:
            return rows
        own: dict[str, list[str]] = {}
        for place, (column, value) in enumerate(pairs):
            tried = f"WHEN {place} THEN {_admissible(value, column, kinds[column])}"
            own.setdefault(column, []).append(tried)
        at = f"(seq + {shift}) % {len(pairs)}"
        replaced = ", ".join(
            f"CASE {at} {' '.join(cases)} ELSE {tables.quoted(column)} END AS {tables.quoted(column)}"
            for column, cases in own.items()
        )
        return f"SELECT * REPLACE ({replaced}) FROM ({rows})"

    return change


def _admissible(value: str, column: str, kind: str) -> str:
    """A value in the type of a column; what is none of its type leaves it as it is."""
    if value == "NULL":
        return f"NULL::{kind}"
    return f"coalesce(TRY_CAST({value} AS {kind}), {tables.quoted(column)})"


def _pairs(bound: Bound, name: str, constants: Constants) -> Iterator[tuple[str, str]]:
    """The columns of a table that are read, each with what may stand there instead."""
    known = schema.admissible(name)
    kinds = bound.columns[name]
    for column in bound.tables[name].columns:
        if column not in leaves.COMMON:
            optional, words = known.get(column, (True, ()))
            for value in _values(kinds[column], words, constants):
                yield column, value
            if optional:
                yield column, "NULL"


def _values(kind: str, words: Sequence[str], constants: Constants) -> Sequence[str]:
    texts = [text for _, text in constants][:_MOST_CONSTANTS]
    numbers = [t for name, t in constants if name in ("INTEGER", "NUMERIC")][:_MOST_CONSTANTS]
    if words:
        return [tables.literal(word) for word in words]
    if not constants:
        return _FEW.get(kind, ("[]",) if kind.endswith("[]") else ("-1", "1000000000000"))
    if kind.endswith("[]"):
        return ["[]", "['other']", *(f"[{tables.literal(text)}]" for text in texts)]
    if kind == "VARCHAR":
        return ["'other'", "'other ' || seq", "''", *map(tables.literal, texts)]
    if kind == "BOOLEAN":
        return ["true", "false"]
    if kind == "JSON":
        return list(dict.fromkeys(["'{}'", *map(tables.literal, _documents(texts, numbers))]))
    near = [f"{text} {step}" for text in numbers for step in ("+ 1", "- 1", "+ 0")]
    return [*_NUMBERS, *near]


def _documents(texts: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """Documents that hold the same at every place which the SQL looks at."""
    if not texts:
        return []
    paths = [_PATH.findall(text) for text in texts if text.startswith("$")]
    said = ["other", *(text for text in texts if not text.startswith("$")), True, False, 0, []]
    values = [*said, *(float(text) for text in numbers)]
    documents = []
    for value in values:
        document: object = {}
        for path in filter(None, paths):
            document = _put(document, path, value)
        documents.append(msgspec.json.encode(document).decode())
    return documents


def _put(document: object, path: Sequence[tuple[str, str, str]], value: object) -> object:
    if not path:
        return value
    quoted, plain, index = path[0]
    if index:
        first = document[0] if isinstance(document, list) and document else {}
        return [_put(first, path[1:], value)]
    inside = dict(document) if isinstance(document, dict) else {}
    inside[quoted or plain] = _put(inside.get(quoted or plain, {}), path[1:], value)
    return inside
