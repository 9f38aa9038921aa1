"""Trials that were made: what was tried, and the evidence of its run. No verdict is kept with it."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from gates.prove.evaluate import Trial
from gates.run.store import Store

FOLDER: Final = "proofs"


class Kept(Struct, frozen=True):
    """One trial with the directory of its run's evidence."""

    trial: Trial
    directory: Path


def find(store: Store, key: str) -> Kept | None:
    """The trial of this key, if it was made."""
    trial = store.find(key, Trial)
    if trial is None:
        return None
    directory = store.place(key) / Path(trial.gate).name
    return Kept(trial, directory) if directory.is_dir() else None
