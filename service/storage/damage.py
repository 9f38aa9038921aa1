"""A control database that is damaged or gone: never taken for a fresh one, and put aside with all that belongs to it.

A sentinel beside it says that there was one. What is put aside moves as a whole: its write-ahead log alone, or the file
without its log, would be another database. The file itself goes first, so that a kill in between leaves none rather than
one that has lost its end; the next start goes on with the rest.
"""

from pathlib import Path
from typing import Final

from service.errors import REPLACE, DatabaseLost
from service.files import of_database, sync_directory, write_new
from service.state import StateDir

_MOVING: Final = "moving"
_SAID: Final = b"control.db was made here; if it is missing or empty, it was lost\n"


def check_kept(state: StateDir) -> None:
    """Raise DatabaseLost when there was a database that is not there any more."""
    if _half_moved(state).exists():
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


def _half_moved(state: StateDir) -> Path:
    return state.quarantine / _MOVING / state.database.name


def put_aside(state: StateDir, now_ms: int) -> Path | None:
    """Move the database with its journals to a place of their own; return it, or None if nothing is there.

    Where another one shall take its place its checkpoints go with it. Whoever calls it has the gateway's lock. Raises OSError.
    """
    moving = state.quarantine / _MOVING
    if state.database.exists() and _half_moved(state).exists():
        # Somebody has put another one in its place meanwhile.
        _settle(moving, next_place(state, now_ms))
    files = of_database(state.database)
    if state.restored.exists():
        files = (*files, state.checkpoints)
    present = [path for path in files if path.exists()]
    if not present and not moving.exists():
        return None
    moving.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in present:
        path.rename(moving / path.name)
        sync_directory(state.root)
    return _settle(moving, next_place(state, now_ms))


def finish_putting_aside(state: StateDir, now_ms: int) -> None:
    """Go on where a kill has left a database half moved, so that it is not read without its log. As `put_aside`."""
    if _half_moved(state).exists():
        if state.database.exists():
            _settle(state.quarantine / _MOVING, next_place(state, now_ms))
        else:
            put_aside(state, now_ms)


def next_place(state: StateDir, now_ms: int) -> Path:
    """Where what is put aside now comes to lie: it is called by when that was."""
    while (place := state.quarantine / str(now_ms)).exists():
        now_ms += 1
    return place


def _settle(moving: Path, place: Path) -> Path:
    sync_directory(moving)
    moving.rename(place)
    sync_directory(place.parent)
    return place


def newest(state: StateDir) -> Path | None:
    """The place of what was put aside last, if there is a database."""
    places = [path for path in state.quarantine.glob("*") if (path / state.database.name).exists()]
    return max(places, key=lambda path: (len(path.name), path.name), default=None)
