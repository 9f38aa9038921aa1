"""The part of a gate that the judge reads: assertions over evidence. Imports nothing of `chaos`."""

from msgspec import Struct


class JudgeSpec(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename=lambda field: field.rstrip("_"),
):
    """Base of what the judge reads from a gate's snapshot."""


class Named(JudgeSpec, frozen=True, kw_only=True):
    """A named query that an assertion may use as its table; it has a population of its own."""

    query: str
    at_least: int


class Assertion(JudgeSpec, frozen=True, kw_only=True):
    """One thing that must be true of the evidence.

    `from` names one table (or one query of the gate's `with`) and may have a `where`; `at_least` is the
    smallest population that says anything. Then exactly one of `every` and `none` (a predicate per
    row), `share` with `is` (the part of the rows for which it holds), or `value` with `is` (one
    aggregate). `is` is an operator with a literal, `between A and B`, or `= (select …)`. One that is `timed`
    speaks of times only, and its failure means nothing on a host that was too slow.
    """

    that: str
    from_: str
    at_least: int
    every: str | None = None
    none: str | None = None
    share: str | None = None
    value: str | None = None
    is_: str | None = None
    killed_by_sham: bool = False
    timed: bool = False


class Judged(JudgeSpec, frozen=True, kw_only=True):
    """All of a gate that its verdict depends on, besides the evidence: what is shipped as its snapshot.

    `data` are small fixed tables, a list of objects each; `faults` the names of the faults that must be
    proven, `loads` those of the loads that must be valid, `collected` the declared columns of the tables
    that the target collects, `exits` the processes that may end by themselves, `host` what must be true of a machine that is
    quick enough, `spec_sha256` the digest that the run must have recorded of its gate.
    """

    gate: str
    id: str
    asserts: list[Assertion]
    with_: dict[str, Named] = {}
    data: dict[str, list[dict[str, object]]] = {}
    faults: list[str] = []
    loads: list[str] = []
    collected: dict[str, dict[str, str]] = {}
    exits: list[str] = []
    host: list[Assertion] = []
    spec_sha256: str = ""
