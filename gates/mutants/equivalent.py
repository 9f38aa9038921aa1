"""The reviewed list of mutants that are no other system: `specs/mutants/equivalent.yaml`."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from chaos.spec.loader import load
from chaos.spec.step import Spec, SpecFile
from gates.mutants.mutations import Mutation, digest_of

FILE = Path("mutants") / "equivalent.yaml"


class Equivalent(Spec, frozen=True, kw_only=True):
    """A mutant that behaves like the original, and why. `sha256` is that of the diff, see `digest_of`."""

    file: str
    diff: str
    sha256: str
    reason: str


class Equivalents(SpecFile, frozen=True, kw_only=True):
    """The mutants that a review calls equivalent."""

    equivalent: list[Equivalent]


class Reviewed(Struct, frozen=True, kw_only=True):
    """Reasons by digest, and what of the list matches no mutation or several: `file: sha256`."""

    reasons: dict[str, str]
    stale: list[str]


def read_equivalents(specs: Path) -> list[Equivalent]:
    """The list; none without a file. SpecError says what is wrong with it, and where."""
    path = specs / FILE
    if not path.exists():
        return []
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    value, document = load(path, Equivalents, {})
    for index, entry in enumerate(value.equivalent):
        if digest_of(entry.diff) != entry.sha256:
            message = f"this is not the digest of the diff, which is {digest_of(entry.diff)}"
            document.problem(("equivalent", index, "sha256"), message)
        if not entry.reason.strip():
            document.problem(("equivalent", index, "reason"), "a reason is needed")
    document.raise_problems()
    return value.equivalent


def reviewed(entries: Iterable[Equivalent], possible: Iterable[Mutation]) -> Reviewed:
    """Which of the entries stand for exactly one of the possible mutations."""
    counts = Counter((mutation.file, mutation.sha256) for mutation in possible)
    reasons, stale = {}, []
    for entry in entries:
        if counts[entry.file, entry.sha256] == 1:
            reasons[entry.sha256] = entry.reason
        else:
            stale.append(f"{entry.file}: {entry.sha256}")
    return Reviewed(reasons=reasons, stale=stale)
