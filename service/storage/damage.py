"""A control database that is damaged or gone: never taken for a fresh one, and put aside with all that belongs to it.

A sentinel beside it says that there was one. What is put aside moves as a whole: its write-ahead log alone, or the file
without its log, would be another database. The file itself goes first, so that a kill in between leaves none rather than
one that has lost its end; the next start goes on with the rest.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from service.errors import REPLACE, DatabaseLost
from service.files import sync_directory, write_new
from service.state import StateDir

BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What the names of a database's files end with, the file itself first."""
_MOVING: Final = "moving"
_SAID: Final = b"control.db was made here; if it is missing or empty, it was lost\n"


def check_kept(state: StateDir) -> None:
    """Raise DatabaseLost when there was a database that is not there any more."""
    if (state.quarantine / _MOVING).exists():
        raise DatabaseLost("control.db is damaged and only in part put aside", REPLACE)
    if not state.sentinel.exists() or (
        state.database.exists() and state.database.stat().st_size > 0
    ):
        return
    put_aside = newest(state)
    where = f" (quarantine/{put_aside.name} holds one)" if put_aside else ""
    reason = f"control.db is missing or empty, and was there before{where}"
    raise DatabaseLost(reason, REPLACE)


def mark_made(state: StateDir) -> None:
    """Write the sentinel where it is not there yet. Raises OSError."""
    if not state.sentinel.exists():
        write_new(state.sentinel, _SAID)


def put_aside(state: StateDir, now_ms: int, also: Iterable[Path] = ()) -> Path | None:
    """Move the database with its journals, and `also`, to a place of their own; return it, or None if nothing is there.

    Whoever calls it has the gateway's lock. Raises OSError.
    """
    moving = state.quarantine / _MOVING
    if state.database.exists() and (moving / state.database.name).exists():
        # Somebody has put another one in its place meanwhile.
        _settle(moving, now_ms)
    files = [state.database.with_name(state.database.name + end) for end in BESIDE]
    present = [path for path in (*files, *also) if path.exists()]
    if not present and not moving.exists():
        return None
    moving.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in present:
        path.rename(moving / path.name)
        sync_directory(state.root)
    return _settle(moving, now_ms)


def _settle(moving: Path, now_ms: int) -> Path:
    """Give what was moved its own name: when that was."""
    sync_directory(moving)
    while (place := moving.with_name(str(now_ms))).exists():
        now_ms += 1
    moving.rename(place)
    sync_directory(place.parent)
    return place


def newest(state: StateDir) -> Path | None:
    """The place of what was put aside last, if there is a database."""
    places = [path for path in state.quarantine.glob("*") if (path / state.database.name).exists()]
    return max(places, key=lambda path: (len(path.name), path.name), default=None)
