"""The ledger of attempts: a line before every full run, so that no run can be repeated until it is green."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

FILE = "attempts.jsonl"


class Attempt(Struct, frozen=True, kw_only=True, tag="attempt"):
    """Written before a full run starts. `inputs` are the digests that make two attempts comparable."""

    session: str
    at_ms: float
    inputs: Mapping[str, str]


class Outcome(Struct, frozen=True, kw_only=True, tag="outcome"):
    """Written when the run was judged: the status of every gate by name."""

    session: str
    verdict: Literal["PROMOTE", "HOLD"]
    statuses: Mapping[str, str]


def append(releases: Path, entry: Attempt | Outcome) -> None:
    """Add one line and see it on disk before going on."""
    releases.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(releases / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, msgspec.json.encode(entry) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(releases: Path) -> Iterator[Attempt | Outcome]:
    """All lines that can be read, in order; one that was cut short is passed over."""
    path = releases / FILE
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield msgspec.json.decode(line, type=Attempt | Outcome)
        except msgspec.DecodeError:
            continue


def attempts_at(releases: Path, inputs: Mapping[str, str]) -> list[tuple[Attempt, Outcome | None]]:
    """Every attempt at the same inputs, oldest first, with how it ended if it did."""
    outcomes: dict[str, Outcome] = {}
    found: list[Attempt] = []
    for entry in entries(releases):
        if isinstance(entry, Outcome):
            outcomes[entry.session] = entry
        elif entry.inputs == inputs:
            found.append(entry)
    return [(attempt, outcomes.get(attempt.session)) for attempt in found]


def flaky_gates(
    attempts: list[tuple[Attempt, Outcome | None]], statuses: Mapping[str, str]
) -> list[str]:
    """Gates that pass now and failed in another attempt at equal inputs."""
    failed = {
        gate
        for _, outcome in attempts
        if outcome is not None
        for gate, status in outcome.statuses.items()
        if status == "FAIL"
    }
    return sorted(gate for gate in failed if statuses.get(gate) == "PASS")
