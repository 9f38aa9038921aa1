"""The ledger of attempts: a line before every full run, so that no run can be repeated until it is green.

Each line carries the SHA-256 of the one before it, so that a line that was edited or removed is noticed. What
is cut off at the end, or the loss of the whole file, is noticed by the releases: each ships the ledger as it
was, and every later ledger must begin with that.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from chaos import regular

FILE = "attempts.jsonl"
COMPARED = ("source", "harness", "toxiproxy", "versions")
"""The inputs that make two attempts the same thing, beside the gate itself.

What a line of the lock file or of release.yaml does to a run is in these, or in the gate: otherwise a comment
in one of them would be enough to try again.
"""


class Attempt(Struct, frozen=True, kw_only=True, tag="attempt"):
    """Written before a full run starts: digests of its inputs, and of every gate that is to run."""

    session: str
    at_ms: float
    inputs: Mapping[str, str]
    release: str = ""
    gates: Mapping[str, str] = {}
    previous: str = ""


class Outcome(Struct, frozen=True, kw_only=True, tag="outcome"):
    """Written when the run was judged: the status of every gate by name."""

    session: str
    verdict: Literal["PROMOTE", "HOLD"]
    statuses: Mapping[str, str]
    previous: str = ""


class Ledger(Struct, frozen=True, kw_only=True):
    """What could be read of a ledger: `head` is the digest of its last line, `problems` what is wrong with it."""

    entries: list[Attempt | Outcome]
    lines: int
    head: str
    problems: list[str]


class Past(Struct, frozen=True, kw_only=True):
    """What earlier attempts mean for one.

    `flaky` are gates that pass now and failed before; `unended` the sessions of runs that never ended, and so
    could have seen anything of what passes now.
    """

    flaky: list[str]
    unended: list[str]


def append(releases: Path, entry: Attempt | Outcome) -> None:
    """Add one line behind the last one, and see it on disk before going on."""
    releases.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(releases / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = file.read()
        lines = content.splitlines()
        chained = msgspec.structs.replace(entry, previous=_digest(lines[-1]) if lines else "")
        cut_off = content and not content.endswith(b"\n")
        file.write((b"\n" if cut_off else b"") + msgspec.json.encode(chained) + b"\n")
        os.fsync(file.fileno())


def read(path: Path) -> Ledger:
    """The ledger in a file; one that is not there has no lines."""
    content = regular.read(path) if path.exists() else b""
    entries: list[Attempt | Outcome] = []
    problems: list[str] = []
    previous = ""
    lines = content.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entry = msgspec.json.decode(line, type=Attempt | Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError):
            problems.append(f"line {number} cannot be read")
        else:
            entries.append(entry)
            if entry.previous != previous:
                problems.append(f"line {number} does not follow from the one before it")
        previous = _digest(line)
    problems += _inconsistent(entries)
    return Ledger(entries=entries, lines=len(lines), head=previous, problems=problems)


def _inconsistent(entries: Sequence[Attempt | Outcome]) -> Iterator[str]:
    """Every outcome has one attempt before it, and no attempt has two."""
    begun: set[str] = set()
    ended: set[str] = set()
    for entry in entries:
        seen = begun if isinstance(entry, Attempt) else ended
        if entry.session in seen:
            yield f"{entry.session} is there twice"
        seen.add(entry.session)
        if entry.session not in begun:
            yield f"{entry.session} ended without having begun"


def discontinued(releases: Path) -> str | None:
    """What is missing from the ledger that an earlier release shipped, or None."""
    path = releases / FILE
    lines = regular.read(path).splitlines() if path.exists() else []
    for shipped in sorted(releases.glob(f"*/{FILE}")):
        earlier = regular.read(shipped).splitlines()
        if lines[: len(earlier)] != earlier:
            return f"{path.name} does not go on from the one that {shipped.parent.name} was shipped with"
    return None


def outcomes(entries: Sequence[Attempt | Outcome]) -> list[tuple[Attempt, Outcome | None]]:
    """Every attempt, oldest first, with how it ended if it did."""
    ended = {entry.session: entry for entry in entries if isinstance(entry, Outcome)}
    return [(entry, ended.get(entry.session)) for entry in entries if isinstance(entry, Attempt)]


def differing(attempt: Attempt, other: Attempt) -> list[str]:
    """Names of the inputs in which two attempts differ."""
    names = {*attempt.inputs, *other.inputs}
    return sorted(name for name in names if attempt.inputs.get(name) != other.inputs.get(name))


def past_of(
    own: Attempt,
    earlier: Sequence[tuple[Attempt, Outcome | None]],
    statuses: Mapping[str, str],
) -> Past:
    """What the attempts before `own` at the same inputs mean for the statuses that it came to.

    An UNKNOWN that one of them ended with held that one, and says nothing about another.
    """
    flaky: set[str] = set()
    unended: list[str] = []
    passed = {gate for gate, status in statuses.items() if status == "PASS"}
    for attempt, outcome in earlier:
        if set(COMPARED) & set(differing(attempt, own)):
            continue
        same = {gate for gate in passed if attempt.gates.get(gate) == own.gates.get(gate)}
        if outcome is not None:
            flaky |= {gate for gate in same if outcome.statuses.get(gate) == "FAIL"}
        elif same:
            unended.append(attempt.session)
    return Past(flaky=[gate for gate in statuses if gate in flaky], unended=unended)


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
