"""The ledger of attempts: a line before every full run, so that no run can be repeated until it is green.

Each line carries the SHA-256 of the one before it, so that a line that was edited or removed is noticed. What
is cut off at the end, or the loss of the whole file, is noticed by the releases: each ships the ledger as it
was, and every later ledger must begin with that.

The machine's own ledger lies beside its releases. One that is named besides, on a share or in a repository, is what a
release rests on then, so that what failed elsewhere counts; the machine's own is kept all the same.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE, HarnessError, told
from gates.release.stored import refuse_repeated, session_of

FILE = "attempts.jsonl"
FORM: Final = 2
"""The form of a line. Lines of form 1 do not say so, and are read; one of a later form is refused."""
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
    form: int = 1


class Outcome(Struct, frozen=True, kw_only=True, tag="outcome"):
    """Written when the run was judged: the status of every gate by name."""

    session: str
    verdict: Literal["PROMOTE", "HOLD"]
    statuses: Mapping[str, str]
    previous: str = ""
    form: int = 1


class Form(Struct, frozen=True):
    """What every line says, whatever its form."""

    form: int = 1


class Ledger(Struct, frozen=True, kw_only=True):
    """What could be read of a ledger: `first` and `head` are the digests of its first and last line.

    `problems` are what is wrong with it.
    """

    entries: list[Attempt | Outcome]
    lines: int
    head: str
    first: str
    problems: list[str]


class Past(Struct, frozen=True, kw_only=True):
    """What earlier attempts mean for one.

    `flaky` are gates that pass now and failed before; `unended` the sessions of runs that never ended, and so
    could have seen anything of what passes now.
    """

    flaky: list[str]
    unended: list[str]


def places(releases: Path, named: Path | None) -> list[Path]:
    """The ledgers that a run is written down in: first the one that its release rests on."""
    own = releases / FILE
    return [own] if named is None else list(dict.fromkeys([named.resolve(), own.resolve()]))


def raise_unusable(named: Path) -> None:
    """HarnessError when a ledger that was named cannot be one; one that does not exist yet begins with this run."""
    if not named.parent.is_dir():
        raise HarnessError(f"there is no directory {named.parent} for the ledger {named.name}")
    if named.exists() and not named.is_file():
        raise HarnessError(f"the ledger {named} is no regular file")


def append(releases: Path, entry: Attempt | Outcome, named: Path | None = None) -> None:
    """Add one line behind the last one of each ledger, and see it on disk before going on."""
    releases.mkdir(parents=True, exist_ok=True)
    for path in places(releases, named):
        _append(path, entry)


def _append(path: Path, entry: Attempt | Outcome) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HarnessError(f"the ledger {path} is no regular file")
        fcntl.flock(file, fcntl.LOCK_EX)
        content = file.read()
        lines = content.splitlines()
        previous = _digest(lines[-1]) if lines else ""
        chained = msgspec.structs.replace(entry, previous=previous, form=FORM)
        cut_off = content and not content.endswith(b"\n")
        file.write((b"\n" if cut_off else b"") + msgspec.json.encode(chained) + b"\n")
        os.fsync(file.fileno())


def lines_of(path: Path) -> list[bytes]:
    """The lines of a ledger, none where it does not exist; HarnessError when it is no file that can be read."""
    if not path.exists():
        return []
    try:
        return regular.read(path).splitlines()
    except OSError as error:
        raise HarnessError(f"cannot read the ledger {path}: {error.strerror}") from error


def read(path: Path) -> Ledger:
    """The ledger in a file; one that is not there has no lines."""
    entries: list[Attempt | Outcome] = []
    problems: list[str] = []
    previous = ""
    lines = lines_of(path)
    for number, line in enumerate(lines, start=1):
        try:
            entry = _entry(line)
        except (ValueError, *UNREADABLE) as error:
            problems.append(f"line {number} cannot be read: {told(error)}")
        else:
            entries.append(entry)
            if entry.previous != previous:
                problems.append(f"line {number} does not follow from the one before it")
        previous = _digest(line)
    problems += _inconsistent(entries)
    return Ledger(
        entries=entries,
        lines=len(lines),
        head=previous,
        first=_digest(lines[0]) if lines else "",
        problems=problems,
    )


def _entry(line: bytes) -> Attempt | Outcome:
    """A line; ValueError when it is in a form that is not known here, or holds what means nothing."""
    form = msgspec.json.decode(line, type=Form).form
    if form > FORM:
        raise ValueError(f"it is in form {form} of ledgers, this harness reads up to {FORM}")
    entry = msgspec.json.decode(line, type=Attempt | Outcome)
    refuse_repeated(line)
    if form == FORM and msgspec.json.encode(entry) != line:
        raise ValueError("it is not as it was written, something in it means nothing")
    return entry


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


def discontinued(releases: Path, named: Path | None = None) -> str | None:
    """What is missing from a ledger that an earlier release shipped, or None.

    One that rested on a ledger which is not named now says nothing of those that are.
    """
    for shipped in sorted(releases.glob(f"*/{FILE}")):
        on = _rested_on(shipped.parent)
        if on is not None and (named is None or on != named.resolve()):
            continue
        path = on or releases / FILE
        earlier = lines_of(shipped)
        if lines_of(path)[: len(earlier)] != earlier:
            return f"{path.name} does not go on from the one that {shipped.parent.name} was shipped with"
    return None


def _rested_on(release: Path) -> Path | None:
    """The ledger that was named when a release was run, None where none was or nothing is known."""
    try:
        named = session_of(release).options.ledger
    except HarnessError:
        return None
    return Path(named) if named is not None else None


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
