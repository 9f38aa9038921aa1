"""What was finished, for every later session at the same inputs: one directory each, named by its key.

A key is a digest of all that the result depends on. Evidence may lie beside a result; whoever takes it up judges it anew.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE
from gates.spec.snapshot import canonical

R = TypeVar("R", bound=Struct)

FILE: Final = "trial.json"
MOST_TRIALS: Final = 1000
MOST_BYTES: Final = 1 << 30


def key_of(name: str, parts: object) -> str:
    """What a result is kept under that depends on these parts."""
    return f"{name}-{hashlib.sha256(canonical(parts)).hexdigest()[:32]}"


class Store(Struct, frozen=True):
    """All that lies below one directory. What was not used for the longest time goes first when there is too much."""

    directory: Path

    def place(self, key: str) -> Path:
        """Where what is kept under a key lies."""
        return self.directory / key

    def find(self, key: str, kind: type[R]) -> R | None:
        """The result that is kept under this key, if there is one."""
        try:
            result = msgspec.json.decode(regular.read(self.place(key) / FILE), type=kind)
            # It has been of use just now.
            os.utime(self.place(key))
        except (OSError, *UNREADABLE):
            return None
        return result

    @contextmanager
    def making(self) -> Iterator[Path]:
        """A directory for what is being made; what is still in it afterwards is gone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".making-", dir=self.directory, ignore_cleanup_errors=True
        ) as place:
            yield Path(place)

    def keep(self, key: str, made: Path, result: Struct) -> None:
        """Keep a result, and what lies in `made`, under a key, in place of what was there."""
        (made / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(result)))
        place = self.place(key)
        shutil.rmtree(place, ignore_errors=True)
        # Where another session has made the same meanwhile, that one stands.
        with contextlib.suppress(OSError):
            made.rename(place)

    def prune(self, most: int = MOST_TRIALS, most_bytes: int = MOST_BYTES) -> None:
        """Remove what is beyond so many, or so much, the longest unused first."""
        places = [path for path in self.directory.glob("*") if path.is_dir()]
        left = most_bytes
        for number, place in enumerate(sorted(places, key=_used_ns, reverse=True)):
            left -= _size(place)
            if number >= most or left < 0:
                shutil.rmtree(place, ignore_errors=True)


class Place(Struct, frozen=True):
    """Where a result is to be kept; `anew` says that it is to be made whatever is kept there."""

    store: Store
    key: str
    anew: bool


def _used_ns(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
