"""Finds incidents that went alike: the shapes of their trace classes as vectors, and the nearest ones by sqlite-vec.

A shape is the sequence of (stage, decision, reason) of a trace class. Its runs of one to three are hashed into a vector of fixed
length, each with a sign (feature hashing: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML
2009), by how many requests had it, damped, so that what failed counts beside all that went well. There is no model, and the
same bundle has the same vector everywhere.
"""

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, TypeAlias

import apsw
import msgspec
import sqlite_vec
from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError, told
from gates.incidents.analysis import Analysis, Limits, analysing
from gates.incidents.bundle import MANIFEST, Bundle, BundleError, open_bundle

NEEDS: Final = ("requests", "decisions")
"""What shapes are read from."""

DIMENSIONS: Final = 512
LONGEST_RUN: Final = 3
INDEX: Final = ".similar.sqlite3"
"""Where a library keeps its vectors. It follows from the bundles, and is made again where it is missing or of no use."""
VERSION: Final = 1
"""Of the vectors; an index of another one is made again."""
MOST_NEAR: Final = 4096
"""sqlite-vec gives no more."""

Stage: TypeAlias = tuple[str, str, str]

_SHAPES: Final = """
WITH classes AS (
    SELECT trace_class, count(*) AS requests, min(request_id) AS example FROM {requests} GROUP BY trace_class
)
SELECT c.trace_class, c.requests, list([d.stage, d.decision, d.reason] ORDER BY d.n) FILTER (WHERE d.n IS NOT NULL)
FROM classes AS c LEFT JOIN decisions AS d ON d.request_id = c.example
GROUP BY c.trace_class, c.requests ORDER BY c.trace_class
"""
_SCHEMA: Final = f"""
CREATE TABLE incidents (
    seq INTEGER PRIMARY KEY, folder TEXT NOT NULL UNIQUE, manifest TEXT NOT NULL, incident_id TEXT NOT NULL,
    from_ms REAL NOT NULL, reason TEXT NOT NULL, classes TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE vectors USING vec0(seq INTEGER PRIMARY KEY, vector FLOAT[{DIMENSIONS}] distance_metric=cosine);
PRAGMA user_version = {VERSION};
"""


class Shape(Struct, frozen=True):
    """A trace class, how many requests had it, and what was decided in it."""

    trace_class: str
    requests: int
    stages: Sequence[Stage]


class Near(Struct, frozen=True, kw_only=True):
    """An incident of the library: 1 is the same, 0 has nothing in common; and how many trace classes both had."""

    similarity: float
    incident_id: str
    from_ms: float
    reason: str
    shared_classes: int
    classes: int
    bundle: str


class Found(Struct, frozen=True):
    """The nearest first, how many there are in all, and bundles of the library that cannot be read, with why."""

    nearest: Sequence[Near]
    known: int
    unread: Mapping[str, str]


def shapes_of(bundle: Bundle, limits: Limits) -> list[Shape]:
    """What was decided in a bundle, and how often."""
    with analysing({"": [bundle]}, (), limits, NEEDS) as analysis:
        return shapes(analysis)


def vector_of(own: Iterable[Shape]) -> list[float]:
    """The vector of an incident, of length 1; all zeros where there was no request. Pure."""
    counts: Counter[tuple[Stage, ...]] = Counter()
    for shape in own:
        for run in _runs(shape.stages):
            counts[run] += shape.requests
    vector = [0.0] * DIMENSIONS
    for run, count in sorted(counts.items()):
        digest = hashlib.sha256(msgspec.json.encode(run)).digest()
        place, sign = int.from_bytes(digest[:4], "big"), 1 if digest[4] & 1 else -1
        vector[place % DIMENSIONS] += sign * math.log1p(count)
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length else vector


def nearest(bundle: Bundle, library: Path, most: int, limits: Limits) -> Found:
    """The incidents of a library, a directory of bundles, that are most like this one, which is left out."""
    if not library.is_dir():
        raise HarnessError(f"{library} is no library of incidents, which is a directory of bundles")
    own = shapes_of(bundle, limits)
    try:
        with closing(_open(library)) as index:
            unread = dict(_refresh(index, library, limits))
            near = list(_search(index, bundle.name, own, min(most, MOST_NEAR)))
            others = "SELECT count(*) FROM incidents WHERE incident_id <> ?"
            known = index.execute(others, (bundle.name,)).get
    except apsw.Error as error:
        raise HarnessError(
            f"{library / INDEX} cannot be used: {error}; it can be removed, and is made again"
        ) from None
    return Found(near, known, unread)


def shapes(analysis: Analysis, requests: str = "requests") -> list[Shape]:
    """The trace classes of some requests, in SQL, by their names."""
    return [
        Shape(
            str(trace_class), int(str(count)), [(s or "", d or "", r or "") for s, d, r in listed]
        )
        for trace_class, count, stages in analysis.rows(_SHAPES.format(requests=requests))
        for listed in [
            msgspec.convert(stages or [], list[tuple[str | None, str | None, str | None]])
        ]
    ]


def _runs(stages: Sequence[Stage]) -> Iterator[tuple[Stage, ...]]:
    for length in range(1, LONGEST_RUN + 1):
        for begin in range(len(stages) - length + 1):
            yield tuple(stages[begin : begin + length])


def _open(library: Path) -> apsw.Connection:
    """The index of a library; in memory alone where the library cannot be written."""
    path = library / INDEX
    try:
        return _prepared(str(path))
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        return _prepared(":memory:")
    except apsw.NotADBError:
        path.unlink()
        return _prepared(str(path))


def _prepared(name: str) -> apsw.Connection:
    connection = apsw.Connection(name)
    try:
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.enable_load_extension(False)
        connection.set_busy_timeout(5000)
        with connection:
            version = connection.pragma("user_version")
            if version != VERSION:
                for table in ("incidents", "vectors"):
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                for _ in connection.execute(_SCHEMA):
                    pass
    except BaseException:
        connection.close()
        raise
    return connection


def _refresh(index: apsw.Connection, library: Path, limits: Limits) -> Iterator[tuple[str, str]]:
    """Bring the index up to what is in the library; gives the bundles that cannot be read."""
    there = {path.parent.name: path for path in sorted(library.glob(f"*/{MANIFEST}"))}
    known = {
        str(folder): str(manifest)
        for folder, manifest in index.execute("SELECT folder, manifest FROM incidents")
    }
    for folder in known.keys() - there.keys():
        _forget(index, folder)
    for folder, path in there.items():
        try:
            digest = hashlib.sha256(regular.read(path)).hexdigest()
            if known.get(folder) != digest:
                _forget(index, folder)
                _take(index, folder, digest, open_bundle(path.parent), limits)
        except (BundleError, OSError) as error:
            yield folder, told(error)


def _forget(index: apsw.Connection, folder: str) -> None:
    with index:
        of_folder = "SELECT seq FROM incidents WHERE folder = ?"
        index.execute(f"DELETE FROM vectors WHERE seq IN ({of_folder})", (folder,))
        index.execute("DELETE FROM incidents WHERE folder = ?", (folder,))


def _take(index: apsw.Connection, folder: str, digest: str, bundle: Bundle, limits: Limits) -> None:
    own = shapes_of(bundle, limits)
    classes = msgspec.json.encode([shape.trace_class for shape in own]).decode()
    manifest = bundle.manifest
    with index:
        # Somebody else may have been quicker.
        made = index.execute(
            "INSERT INTO incidents (folder, manifest, incident_id, from_ms, reason, classes)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (folder) DO NOTHING RETURNING seq",
            (folder, digest, bundle.name, manifest.from_ms, manifest.reason, classes),
        ).fetchall()
        index.executemany(
            "INSERT INTO vectors (seq, vector) VALUES (?, ?)",
            [(seq, _packed(vector_of(own))) for (seq,) in made],
        )


def _search(index: apsw.Connection, name: str, own: Sequence[Shape], most: int) -> Iterator[Near]:
    classes = {shape.trace_class for shape in own}
    rows = index.execute(
        "SELECT distance, incident_id, from_ms, reason, classes, folder FROM"
        " (SELECT seq, distance FROM vectors WHERE vector MATCH ? AND k = ?)"
        " JOIN incidents USING (seq) WHERE incident_id <> ? ORDER BY distance, incident_id, folder LIMIT ?",
        (_packed(vector_of(own)), min(most + 1, MOST_NEAR), name, most),
    )
    for distance, incident_id, from_ms, reason, theirs, folder in rows:
        of_theirs = msgspec.json.decode(theirs, type=set[str])
        yield Near(
            similarity=round(1 - (distance if distance is not None else 1.0), 4),
            incident_id=incident_id,
            from_ms=from_ms,
            reason=reason,
            shared_classes=len(classes & of_theirs),
            classes=len(of_theirs),
            bundle=folder,
        )


def _packed(vector: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)
