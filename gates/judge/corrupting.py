"""Evidence as it could have been instead: what the tables behind an assertion might have held (rule 18).

Only what is admissible: a column that the harness always fills is not NULL, one that holds one of some words holds one of
these, and no row says of itself that it belongs to another run.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from chaos.evidence import schema
from gates.judge import leaves, tables
from gates.judge.binding import Bound
from gates.judge.worlds import HALF, TWICE, Change, World

_MOST_CONSTANTS = 8
_SHIFTS = 3
_TELLING = frozenset({"JSON", "DOUBLE", "BIGINT"})
_PATH = re.compile(r"\.(?:\"([^\"]+)\"|([A-Za-z_]\w*))|\[(\*|\d+)\]")
Constants = Sequence[tuple[str, str]]


class Value(Struct, frozen=True):
    """What may stand in a column: SQL, which may use the row, or a text that is cast to the type of the column."""

    sql: str | None = None
    text: str = ""

    @property
    def written(self) -> str:
        """It as SQL."""
        return tables.literal(self.text) if self.sql is None else self.sql


_NULL = Value("NULL")
_OTHER = Value("'other ' || seq")
_FEW = {
    "VARCHAR": (_OTHER,),
    "JSON": (Value(text="{}"),),
    "BOOLEAN": (Value(text="true"), Value(text="false")),
}
_NUMBERS = (*(Value(text=text) for text in ("-1", "0", "1000000000000")), Value("seq * 1000000"))


def together(bound: Bound, constants: Constants, words: Container[str]) -> Iterator[World]:
    """What many assertions are tried in at once: in every row one column holds something else, or there are more rows, or fewer.

    In an order in which little turns most.
    """
    yield World("mixed 0", _mixing(bound, (), 0))
    yield World("named 0", _mixing(bound, constants, 0, words))
    yield from (TWICE, HALF)
    for shift in range(1, _SHIFTS):
        yield World(f"mixed {shift}", _mixing(bound, (), shift))


def compared(bound: Bound, constants: Constants, words: Container[str]) -> Iterator[World]:
    """The same with all that the SQL compares with, in other rows and in all columns: it costs more, and turns little."""
    for shift in range(1, _SHIFTS):
        yield World(f"named {shift}", _mixing(bound, constants, shift, words))
    for shift in range(_SHIFTS):
        yield World(f"compared {shift}", _mixing(bound, constants, shift))


def counted(reads: Iterable[str]) -> Iterator[World]:
    """More rows and fewer of one table after the other."""
    for name in sorted(reads):
        for world in (TWICE, HALF, _TAIL):
            yield World(f"{world.name} of {name}", world.change, frozenset([name]))


_TAIL = World("tail", lambda rows, *_: f"FROM ({rows}) WHERE seq > (SELECT min(seq) FROM ({rows}))")


def whole(
    bound: Bound, reads: Iterable[str], constants: Constants, words: Container[str], *, named: bool
) -> Iterator[World]:
    """One column of one table holds something else in every row: those columns that the `words` of the SQL name, or the others.

    In an order in which much turns soon: answers, documents and numbers first, and of these what differs from row to row and NULL.
    """
    found: list[tuple[bool, int, str, str, Value]] = []
    for name in sorted(reads):
        seen: Counter[str] = Counter()
        for column, value in _pairs(bound, name, constants):
            if (column.lower() in words) is named:
                seen[column] += value.sql is None
                place = 0 if value.sql is not None else seen[column]
                found.append((not _tells(name, column, bound), place, name, column, value))
    for *_, name, column, value in sorted(found, key=lambda one: one[:2]):
        yield World(f"{name}.{column}", _setting(column, value), frozenset([name]))


def _tells(name: str, column: str, bound: Bound) -> bool:
    """Whether a column holds answers, documents or numbers."""
    return column in schema.ANSWERS.get(name, ()) or bound.columns[name][column] in _TELLING


def _setting(column: str, value: Value) -> Change:
    def change(rows: str, _name: str, kinds: dict[str, str]) -> str:
        new = _admissible(value.written, column, kinds[column])
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
        own: dict[str, list[tuple[int, Value]]] = {}
        for place, (column, value) in enumerate(pairs):
            own.setdefault(column, []).append((place, value))
        at = f"(seq + {shift}) % {len(pairs)}"
        replaced = ", ".join(
            f"{_one_of(values, at, column, kinds[column])} AS {tables.quoted(column)}"
            for column, values in own.items()
        )
        return f"SELECT * REPLACE ({replaced}) FROM ({rows})"

    return change


def _one_of(values: Sequence[tuple[int, Value]], at: str, column: str, kind: str) -> str:
    """The value whose place is `at`, else what is there; texts stand in one list, since every branch costs planning."""
    first = values[0][0]
    cases = [
        f"WHEN {at} = {place} THEN {_admissible(value.sql, column, kind)}"
        for place, value in values
        if value.sql is not None
    ]
    listed = ", ".join(
        tables.literal(value.text) if value.sql is None else "NULL" for _, value in values
    )
    chosen = _admissible(f"([{listed}]::VARCHAR[])[{at} - {first - 1}]", column, kind)
    return f"CASE {' '.join(cases)} ELSE {chosen} END" if cases else chosen


def _admissible(value: str, column: str, kind: str) -> str:
    """A value in the type of a column; what is none of its type leaves it as it is."""
    if value == "NULL":
        return f"NULL::{kind}"
    return f"coalesce(TRY_CAST({value} AS {kind}), {tables.quoted(column)})"


def _pairs(bound: Bound, name: str, constants: Constants) -> Iterator[tuple[str, Value]]:
    """The columns of a table that are read, each with what may stand there instead."""
    known = schema.admissible(name)
    kinds = bound.columns[name]
    for column in bound.tables[name].columns:
        if column not in leaves.COMMON:
            optional, words = known.get(column, (True, ()))
            for value in _values(kinds[column], words, constants):
                yield column, value
            if optional:
                yield column, _NULL


def _values(kind: str, words: Sequence[str], constants: Constants) -> Sequence[Value]:
    texts = [text for _, text in constants][:_MOST_CONSTANTS]
    numbers = [t for name, t in constants if name in ("INTEGER", "NUMERIC")][:_MOST_CONSTANTS]
    if words:
        return _texts(words)
    if not constants:
        lists = [Value("[]")] if kind.endswith("[]") else _texts(["-1", "1000000000000"])
        return _FEW.get(kind, lists)
    if kind.endswith("[]"):
        listed = [f"[{tables.literal(text)}]" for text in texts]
        return [Value("[]"), Value("['other']"), *map(Value, listed)]
    if kind == "VARCHAR":
        return [Value(text="other"), _OTHER, *_texts(["", *texts])]
    if kind == "BOOLEAN":
        return _texts(["true", "false"])
    if kind == "JSON":
        return _texts(dict.fromkeys(["{}", *_documents(texts, numbers)]))
    near = [Decimal(text) + step for text in numbers for step in (1, -1, 0)]
    return [*_NUMBERS, *_texts(map(str, near))]


def _texts(texts: Iterable[str]) -> list[Value]:
    return [Value(text=text) for text in texts]


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
