"""Proofs are pure, and nothing that was not measured proves anything."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.evidence.schema import LinkProbe, Spoken
from chaos.faults import FAULTS, SIGNATURES
from chaos.faults.base import Attributes


@dataclasses.dataclass(frozen=True)
class Look:
    """What a probe of a recipe sees, in milliseconds from its start."""

    connected: float | None = 0.2
    first: float | None = 1.0
    last: float | None = 1.2
    closed: float | None = 1.3
    size: int = 6000
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Evidence that proves a fault: what is seen through the link while it is on, and past it."""

    attributes: Attributes
    on: Look
    pairs: int = 1
    direct: Look = Look()
    established: bool = False


RECIPES: Mapping[str, Recipe] = {
    "cut": Recipe({}, Look(None, None, None, None, 0, "refused"), established=True),
    "latency": Recipe({"latency": 200, "jitter": 0}, Look(0.2, 201, 201, 201.3), pairs=3),
    "bandwidth": Recipe({"rate": 10}, Look(0.2, 500, 600.5, 601)),
    "slow_close": Recipe({"delay": 100}, Look(0.2, 1, 1.2, 101.5)),
    "timeout": Recipe({"timeout": 300}, Look(0.2, None, None, 300.5, 0, "eof")),
    "reset_peer": Recipe({"timeout": 0}, Look(0.2, None, None, 1.5, 0, "reset")),
    "slicer": Recipe(
        {"average_size": 100, "size_variation": 20, "delay": 10_000}, Look(0.2, 1.0, 640, 641)
    ),
    "limit_data": Recipe({"bytes": 200}, Look(0.2, 1.0, 1.0, 1.1, 200, "eof")),
}


def evidence(recipe: Recipe) -> list[LinkProbe]:
    """The rows of a whole window."""
    rows: list[LinkProbe] = []
    for phase in ("before", "start", "end", "after"):
        on = phase in ("start", "end")
        for _ in range(recipe.pairs):
            rows.append(row(rows, phase, "link", recipe.on if on else Look()))
            rows.append(row(rows, phase, "direct", recipe.direct))
        if recipe.established and phase in ("before", "start"):
            closed = Look(failure="eof") if phase == "start" else Look()
            rows.append(row(rows, phase, "link", closed, "established"))
            rows.append(row(rows, phase, "direct", Look(), "established"))
    return rows


def row(
    rows: Sequence[LinkProbe], phase: str, path: str, look: Look, connection: str = "new"
) -> LinkProbe:
    return msgspec.convert(
        {
            "run_id": "r",
            "gate": "g",
            "seq": len(rows),
            "link": "a->b",
            "path": path,
            "fault": "f",
            "phase": phase,
            "connection": connection,
            "probed_ms": 10.0 * len(rows),
            "connected_after_ms": look.connected,
            "first_byte_after_ms": look.first,
            "last_byte_after_ms": look.last,
            "closed_after_ms": look.closed,
            "received_bytes": look.size,
            "failure": look.failure,
            "answer": "HTTP/1.1 200 OK" if look.size else None,
        },
        LinkProbe,
    )


def proof(kind: str, rows: Sequence[LinkProbe]) -> str | None:
    return SIGNATURES[kind].took_hold(RECIPES[kind].attributes, rows)


kinds = pytest.mark.parametrize("kind", FAULTS)


@kinds
def test_every_fault_has_evidence_that_proves_it(kind: str) -> None:
    rows = evidence(RECIPES[kind])
    assert proof(kind, rows) is None
    assert SIGNATURES[kind].clean_again(RECIPES[kind].attributes, rows) is None


@kinds
@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("http", "HTTP/1.1 400 Bad Request"),
        ("http", "HTTP/1.1 426 Upgrade Required"),
        ("http", "HTTP/1.1 505 HTTP Version Not Supported"),
        ("http", "HTTP/1.1 2000"),
        ("http", "-ERR unknown command"),
        ("http", None),
        ("websocket", "HTTP/1.1 200 OK"),
        ("websocket", "HTTP/1.1 401 Unauthorized"),
        ("tls", "HTTP/1.0 400 Bad Request"),
        ("tls", r"\x15\x03\x03"),
    ],
)
def test_an_answer_in_another_protocol_proves_nothing(
    kind: str, protocol: Spoken, answer: str | None
) -> None:
    """But a cut, which wants none."""
    rows = [
        msgspec.structs.replace(row, protocol=protocol, answer=answer)
        for row in evidence(RECIPES[kind])
    ]
    why = proof(kind, rows)
    assert (why is None) == (kind == "cut")
    assert kind == "cut" or "in its server's own protocol" in (why or "")


@kinds
@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("http", "HTTP/1.0 503 Service Unavailable"),
        ("http", "HTTP/1.1 200"),
        ("websocket", "HTTP/1.1 101 Switching Protocols"),
        ("tls", r"\x16\x03\x03\x00z\x02"),
        ("tcp", "+PONG"),
    ],
)
def test_an_answer_in_its_own_protocol_proves_a_fault(
    kind: str, protocol: Spoken, answer: str
) -> None:
    rows = [
        msgspec.structs.replace(row, protocol=protocol, answer=answer)
        for row in evidence(RECIPES[kind])
    ]
    assert proof(kind, rows) is None


@kinds
def test_order_of_the_rows_does_not_matter(kind: str) -> None:
    assert proof(kind, evidence(RECIPES[kind])[::-1]) is None


@kinds
def test_nothing_proves_nothing(kind: str) -> None:
    assert proof(kind, []) is not None
    assert SIGNATURES[kind].clean_again(RECIPES[kind].attributes, []) is not None


@kinds
@pytest.mark.parametrize("phase", ["before", "start", "end"])
@pytest.mark.parametrize("path", ["link", "direct"])
def test_no_phase_and_no_path_may_be_missing(kind: str, phase: str, path: str) -> None:
    rows = [row for row in evidence(RECIPES[kind]) if (row.phase, row.path) != (phase, path)]
    assert proof(kind, rows) is not None


@kinds
def test_path_that_stays_as_it_was_is_no_fault(kind: str) -> None:
    recipe = dataclasses.replace(RECIPES[kind], on=Look())
    assert proof(kind, evidence(recipe)) is not None


@kinds
def test_path_that_was_faulty_before_proves_nothing(kind: str) -> None:
    recipe = RECIPES[kind]
    rows = [
        row(evidence(recipe)[: one.seq], one.phase, "link", recipe.on)
        if (one.phase, one.path, one.connection) == ("before", "link", "new")
        else one
        for one in evidence(recipe)
    ]
    assert proof(kind, rows) is not None
    after = [msgspec.structs.replace(one, phase="after") for one in rows if one.phase == "before"]
    assert SIGNATURES[kind].clean_again(recipe.attributes, after) is not None


@kinds
def test_control_that_sees_the_fault_too_proves_nothing(kind: str) -> None:
    recipe = RECIPES[kind]
    assert proof(kind, evidence(dataclasses.replace(recipe, direct=recipe.on))) is not None


@kinds
@pytest.mark.parametrize("failure", ["refused", "reset", "eof", "timeout"])
def test_control_that_fails_proves_nothing(kind: str, failure: str) -> None:
    recipe = dataclasses.replace(RECIPES[kind], direct=Look(failure=failure))
    assert proof(kind, evidence(recipe)) is not None


@pytest.mark.parametrize("kind", ["latency", "bandwidth", "slow_close", "slicer"])
def test_control_that_is_slow_proves_nothing(kind: str) -> None:
    slow = Look(0.2, 150, 300, 450)
    assert proof(kind, evidence(dataclasses.replace(RECIPES[kind], direct=slow))) is not None


MEASURES = ("connected_after_ms", "first_byte_after_ms", "last_byte_after_ms", "closed_after_ms")

# What a proof reads of a probe through the link, and of its control, while the fault is on.
READ: Mapping[str, tuple[tuple[str, str], ...]] = {
    "cut": (("direct", "connected_after_ms"),),
    "latency": (
        ("link", "connected_after_ms"),
        ("link", "first_byte_after_ms"),
        ("direct", "connected_after_ms"),
        ("direct", "first_byte_after_ms"),
    ),
    "bandwidth": (("link", "last_byte_after_ms"), ("direct", "last_byte_after_ms")),
    "slow_close": (
        ("link", "last_byte_after_ms"),
        ("link", "closed_after_ms"),
        ("direct", "closed_after_ms"),
    ),
    "timeout": (("link", "connected_after_ms"), ("link", "closed_after_ms")),
    "reset_peer": (("link", "connected_after_ms"),),
    "slicer": (("link", "first_byte_after_ms"), ("link", "last_byte_after_ms")),
    "limit_data": (("link", "closed_after_ms"), ("direct", "connected_after_ms")),
}


@kinds
@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_a_proof_reads_may_not_be_missing(kind: str, missing: float | None) -> None:
    for path, column in READ[kind]:
        for phase in ("start", "end"):
            rows = [
                msgspec.structs.replace(one, **{column: missing})
                if (one.path, one.phase, one.connection) == (path, phase, "new")
                else one
                for one in evidence(RECIPES[kind])
            ]
            assert proof(kind, rows) is not None, (phase, path, column)


@kinds
def test_all_nulls_prove_nothing(kind: str) -> None:
    rows = [
        msgspec.structs.replace(one, received_bytes=0, failure=None, **dict.fromkeys(MEASURES))
        for one in evidence(RECIPES[kind])
    ]
    assert proof(kind, rows) is not None


measure = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
looks = st.builds(
    Look,
    connected=measure,
    first=measure,
    last=measure,
    closed=measure,
    size=st.integers(0, 10_000),
    failure=st.sampled_from([None, "refused", "reset", "eof", "timeout", "not HTTP"]),
)
shapes = st.tuples(
    st.sampled_from(["before", "start", "end", "after"]),
    st.sampled_from(["link", "direct"]),
    st.sampled_from(["new", "established"]),
    looks,
)


@kinds
@settings(max_examples=60)
@given(shape=st.lists(shapes, max_size=12))
def test_any_evidence_gets_an_answer(kind: str, shape: list[tuple[str, str, str, Look]]) -> None:
    rows: list[LinkProbe] = []
    for phase, path, connection, look in shape:
        rows.append(row(rows, phase, path, look, connection))
    assert proof(kind, rows) is None or proof(kind, rows)
    assert SIGNATURES[kind].clean_again(RECIPES[kind].attributes, rows) != ""


@kinds
@settings(max_examples=60)
@given(data=st.data())
def test_a_failed_control_anywhere_in_the_fault_is_never_proven(
    kind: str, data: st.DataObject
) -> None:
    rows = evidence(RECIPES[kind])
    controls = [
        one.seq
        for one in rows
        if one.path == "direct" and one.connection == "new" and one.phase in ("start", "end")
    ]
    struck = data.draw(st.sampled_from(controls))
    failure = data.draw(st.sampled_from(["refused", "reset", "eof", "timeout"]))
    rows = [
        msgspec.structs.replace(one, failure=failure) if one.seq == struck else one for one in rows
    ]
    assert proof(kind, rows) is not None


@pytest.mark.parametrize(
    ("on", "reason"),
    [
        (Look(0.2, None, None, 0.5, 0, "reset"), "not refused but reset"),
        (Look(0.2, None, None, 0.5, 0, "eof"), "not refused but eof"),
        (Look(None, None, None, 1000, 0, "timeout"), "not refused but timeout"),
    ],
)
def test_dead_server_behind_a_live_proxy_is_no_cut(on: Look, reason: str) -> None:
    recipe = dataclasses.replace(RECIPES["cut"], on=on)
    assert reason in (proof("cut", evidence(recipe)) or "")


def test_cut_that_leaves_established_connections_open_is_not_proven() -> None:
    rows = [
        msgspec.structs.replace(one, failure="timeout") if one.connection == "established" else one
        for one in evidence(RECIPES["cut"])
    ]
    assert proof("cut", rows) is not None


def test_silence_without_end_takes_half_a_second_to_tell() -> None:
    attributes = {"timeout": 0}
    silent = dataclasses.replace(
        RECIPES["timeout"], on=Look(0.2, None, None, 600, 0, "timeout"), attributes=attributes
    )
    short = dataclasses.replace(silent, on=Look(0.2, None, None, 400, 0, "timeout"))
    ended = dataclasses.replace(silent, on=Look(0.2, None, None, 600, 0, "eof"))
    assert SIGNATURES["timeout"].took_hold(attributes, evidence(silent)) is None
    assert SIGNATURES["timeout"].took_hold(attributes, evidence(short)) is not None
    assert SIGNATURES["timeout"].took_hold(attributes, evidence(ended)) is not None


@pytest.mark.parametrize(
    ("ended_ms", "proven"), [(230, False), (250, True), (350, True), (370, False)]
)
def test_black_hole_closes_in_time(ended_ms: float, proven: bool) -> None:
    on = Look(0.0, None, None, ended_ms, 0, "eof")
    recipe = dataclasses.replace(RECIPES["timeout"], on=on)
    assert (proof("timeout", evidence(recipe)) is None) == proven


def test_latency_needs_three_pairs_and_the_median() -> None:
    rows = evidence(RECIPES["latency"])
    fast = [one.seq for one in rows if one.phase == "start" and one.path == "link"]
    one_fast = [
        msgspec.structs.replace(one, first_byte_after_ms=1.0) if one.seq == fast[0] else one
        for one in rows
    ]
    two_fast = [
        msgspec.structs.replace(one, first_byte_after_ms=1.0) if one.seq in fast[:2] else one
        for one in rows
    ]
    assert proof("latency", one_fast) is None
    assert "median difference" in (proof("latency", two_fast) or "")
    assert "2 pairs of probes, not 3" in (
        proof("latency", [one for one in rows if one.seq not in (fast[0], fast[0] + 1)]) or ""
    )


def test_upstream_faults_are_measured_by_the_request() -> None:
    on = Look(0.2, 601, 601.2, 601.3, 100)
    upstream = dataclasses.replace(RECIPES["bandwidth"], on=on, attributes={"rate": 10})
    with_request = {"rate": 10, "request_bytes": 6000}
    assert SIGNATURES["bandwidth"].took_hold(with_request, evidence(upstream)) is None
    assert SIGNATURES["bandwidth"].took_hold({"rate": 10}, evidence(upstream)) is not None
