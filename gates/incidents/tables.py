"""What a question may read: the tables of bundles, and with `base_` before their names those of the one they are compared with.

Columns are declared, in the order of the Structs of `bundle`; nothing is guessed from what is in a file. Beside each time in
milliseconds stands the same moment as a timestamp in UTC.
"""

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

from gates.incidents.bundle import TABLES, Bundle, Input

BASE: Final = "base_"

_TYPES: Final[Mapping[object, str]] = {
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    Raw: "JSON",
    list[Input]: "STRUCT(kind VARCHAR, value JSON)[]",
}


def _columns(struct: type[Struct]) -> dict[str, str]:
    hints = get_type_hints(struct)
    return {field.name: _type(hints[field.name]) for field in msgspec.structs.fields(struct)}


def _type(hint: object) -> str:
    if get_origin(hint) is UnionType:
        return _type(get_args(hint)[0])
    return _TYPES[hint]


COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    table: _columns(struct) for table, struct in TABLES.items()
}
"""The columns of each file with their types."""

MOMENTS: Final = {
    "requests": ("began_ms", "began_at"),
    "decisions": ("at_ms", "decided_at"),
    "events": ("at_ms", "happened_at"),
}
"""Each table's time in milliseconds, and what it is called as a timestamp."""

INPUTS: Final = "inputs"
"""A column of decisions, and the table with a row for each of them. It is as large as all else, and few questions read it."""

SMALL: Final[Mapping[str, Mapping[str, str]]] = {
    "incidents": {
        "incident_id": "VARCHAR",
        "reason": "VARCHAR",
        "from_at": "TIMESTAMP",
        "to_at": "TIMESTAMP",
    },
    "settings": {"name": "VARCHAR", "value": "VARCHAR"},
    "versions": {"name": "VARCHAR", "value": "VARCHAR"},
}
"""Tables of what stands in manifests and configurations."""

_OF_ONE: Final[Mapping[str, Mapping[str, str]]] = {
    **{
        table: {
            **{name: kind for name, kind in columns.items() if name != INPUTS},
            MOMENTS[table][1]: "TIMESTAMP",
        }
        for table, columns in COLUMNS.items()
    },
    INPUTS: {
        "request_id": "VARCHAR",
        "n": "BIGINT",
        "stage": "VARCHAR",
        "place": "BIGINT",
        "kind": "VARCHAR",
        "value": "JSON",
    },
    **SMALL,
}
VIEWS: Final[Mapping[str, Mapping[str, str]]] = {
    prefix + table: columns for prefix in ("", BASE) for table, columns in _OF_ONE.items()
}
"""All that a question may read, with its columns and their types."""


def file_of(view: str) -> tuple[str, str]:
    """Which bundles a view is about, `` or BASE, and which of their tables it is made of."""
    prefix = BASE if view.startswith(BASE) else ""
    table = view.removeprefix(prefix)
    return prefix, "decisions" if table == INPUTS else table


def small_rows(table: str, bundles: Iterable[Bundle]) -> list[tuple[object, ...]]:
    """The rows of a table of SMALL, each once; times are microseconds since 1970."""
    rows: dict[tuple[object, ...], None] = {}
    for bundle in bundles:
        manifest = bundle.manifest
        if table == "incidents":
            times = (round(manifest.from_ms * 1000), round(manifest.to_ms * 1000))
            rows[manifest.incident_id, manifest.reason, *times] = None
        else:
            facts = bundle.config if table == "settings" else manifest.versions
            rows.update(dict.fromkeys(_flat("", facts)))
    return sorted(rows, key=str)


def _flat(name: str, value: object) -> Iterable[tuple[str, str]]:
    """`breaker.open_for_s`, `5`: one row per setting; lists are one value."""
    if isinstance(value, Mapping) and (value or not name):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()
