"""What is not opened, judged and digested anew where the same bytes were before: that costs more than what tests ask of it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import msgspec

from gates.judge import verdict
from gates.judge.connection import Evidence, open_release
from gates.run.session import tree_digest
from gates.spec.assertion import Judged

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
_KEPT = 12
_opened: dict[str, Evidence] = {}
_judged: WeakKeyDictionary[Evidence, dict[bytes, object]] = WeakKeyDictionary()


def opened_once(directory: Path, collected: Mapping[str, Mapping[str, str]]) -> Evidence:
    """What `open_release` gives, the very same object for the same files; what cannot be read is always tried again."""
    key = _key(directory, collected)
    evidence = _opened.pop(key, None) or open_release(directory, collected)
    if not evidence.unread:
        _opened[key] = evidence
    while len(_opened) > _KEPT:
        del _opened[next(iter(_opened))]
    return evidence


def _key(directory: Path, collected: Mapping[str, Mapping[str, str]]) -> str:
    """A digest of all that opening it depends on."""
    digest = hashlib.sha256(repr(collected).encode())
    for path in sorted(directory.iterdir()):
        content = path.read_bytes() if path.is_file() else b"?"
        digest.update(f"{path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def judged_once(
    judge: Callable[..., T], evidence: Evidence, judged: Judged, signatures: object, *of: object
) -> T:
    """What `judge` says: a verdict follows from a gate and evidence alone. Signatures are the same everywhere."""
    kept = _judged.setdefault(evidence, {})
    key = msgspec.json.encode([judge.__name__, judged, of])
    if key not in kept:
        kept[key] = judge(evidence, judged, signatures, *of)
    return kept[key]  # type: ignore[return-value]


def digested_once(root: Path, folders: Sequence[str]) -> str:
    """What `tree_digest` gives; that of the harness itself, which no test changes, is computed once."""
    if root != ROOT:
        return tree_digest(root, folders)
    return _of_harness(tuple(folders))


@cache
def _of_harness(folders: tuple[str, ...]) -> str:
    return tree_digest(ROOT, folders)


ONCE: Mapping[str, Callable[..., object]] = {
    "gates.release.stages.open_release": opened_once,
    "gates.release.proofs.open_release": opened_once,
    "gates.verify.evidence.open_release": opened_once,
    "gates.release.entries.judge_attempts": partial(judged_once, verdict.judge_attempts),
    "gates.release.entries.judge_gate": partial(judged_once, verdict.judge_gate),
    "gates.release.proofs.judge_gate": partial(judged_once, verdict.judge_gate),
    "gates.run.session.tree_digest": digested_once,
}
"""Who opens and judges the evidence of a release, or digests the harness, and what they get in its place. Evidence is locked, and
nothing is written to it."""
