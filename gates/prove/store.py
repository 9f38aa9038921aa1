"""The trials that were made, for every later session at the same inputs: one directory each, named by its key.

A trial is what was tried and the evidence of its run. No verdict is kept with it: whoever takes it up judges the evidence.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from chaos import regular
from gates.prove.evaluate import Trial

FOLDER: Final = "proofs"
FILE: Final = "trial.json"
MOST_TRIALS: Final = 1000
MOST_BYTES: Final = 1 << 30


class Kept(Struct, frozen=True):
    """One trial with the directory of its run's evidence."""

    trial: Trial
    directory: Path


class Store(Struct, frozen=True):
    """All trials below one directory. Those that were not used for the longest time go first when there are too many."""

    directory: Path

    def find(self, key: str) -> Kept | None:
        """The trial of this key, if it was made."""
        place = self.directory / key
        try:
            trial = msgspec.json.decode(regular.read(place / FILE), type=Trial)
            # It has been of use just now.
            os.utime(place)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        kept = Kept(trial, place / Path(trial.gate).name)
        return kept if kept.directory.is_dir() else None

    @contextmanager
    def making(self) -> Iterator[Path]:
        """A directory for a trial that is being made; what is still in it afterwards is gone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".making-", dir=self.directory, ignore_cleanup_errors=True
        ) as place:
            yield Path(place)

    def keep(self, key: str, made: Path, trial: Trial) -> None:
        """Keep what lies in `made` under a key, in place of what was there."""
        (made / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(trial)))
        place = self.directory / key
        shutil.rmtree(place, ignore_errors=True)
        # Where another session has made the same trial meanwhile, that one stands.
        with contextlib.suppress(OSError):
            made.rename(place)

    def prune(self, most: int = MOST_TRIALS, most_bytes: int = MOST_BYTES) -> None:
        """Remove trials beyond so many, or so much, the longest unused first."""
        places = [path for path in self.directory.glob("*") if path.is_dir()]
        left = most_bytes
        for number, place in enumerate(sorted(places, key=_used_ns, reverse=True)):
            left -= _size(place)
            if number >= most or left < 0:
                shutil.rmtree(place, ignore_errors=True)


def _used_ns(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
