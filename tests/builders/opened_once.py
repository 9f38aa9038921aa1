"""Evidence that is not opened anew where the same bytes were opened before: a database costs more than a verdict."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from gates.judge.connection import Evidence, open_release

USERS = tuple(
    f"gates.{module}.open_release"
    for module in ("release.stages", "release.proofs", "verify.evidence")
)
"""Who opens the evidence of a release. What they get is locked, and nothing is written to it."""

_KEPT = 12
_opened: dict[str, Evidence] = {}


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
