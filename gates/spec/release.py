"""A release as it is written in YAML: which gates decide it, and what else must hold."""

from typing import Literal

from chaos.spec.bounds import DEFAULT, Bounds
from chaos.spec.step import Spec, SpecFile


class ListedGate(Spec, frozen=True, kw_only=True):
    """A gate that the release must have; `since` is the release that brought it in."""

    id: str
    gate: str
    class_: Literal["floor", "delta"]
    since: str


class Invariant(Spec, frozen=True, kw_only=True):
    """Something about the release as a whole that must hold. `check` names how it is decided."""

    id: str
    statement: str
    check: Literal["counts", "contract", "clean-source", "floor", "same-digests", "epics", "pins"]


class Release(SpecFile, frozen=True, kw_only=True):
    """`config` lists the keys (`breaker.open_for_s`) that gates may set, with the product's defaults.

    `contract` is the file of the pinned public contract, `contract_version` its version; `source` what
    must be committed for a release to be cut from it. `floor_digests` pins floor gates to the SHA-256 of
    their specs in the last release; one that differs needs its text in `reasons`. `baseline` names a
    defect per gate: together they are the system before this release. `waiver_keys` are the public
    keys, 32 bytes in base64, of those who may waive a gate; `bounds` raises what a gate may take.
    """

    release: str
    title: str
    contract_version: str
    contract: str
    target: str
    floor: int
    delta: int
    epics: list[str]
    config: dict[str, object]
    source: list[str]
    gates: list[ListedGate]
    invariants: list[Invariant]
    limits: list[str]
    floor_digests: dict[str, str] = {}
    reasons: dict[str, str] = {}
    baseline: dict[str, str] = {}
    waiver_keys: list[str] = []
    bounds: Bounds = DEFAULT
