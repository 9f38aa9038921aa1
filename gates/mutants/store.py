"""Small results that are found again: files named by a digest of all that they depend on."""

import hashlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from chaos import regular
from gates.spec.snapshot import canonical

R = TypeVar("R", bound=Struct)


def key_of(name: str, parts: object) -> str:
    """What a result is called that depends on these parts."""
    return f"{name}-{hashlib.sha256(canonical(parts)).hexdigest()[:24]}.json"


def keep(place: str, result: Struct) -> None:
    """Write a result where it is found again; it is there as a whole or not at all."""
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(result))
    fresh.replace(path)


def kept(place: str, kind: type[R]) -> R | None:
    """A result that was kept there, or None."""
    try:
        return msgspec.json.decode(regular.read(Path(place)), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
