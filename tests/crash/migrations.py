"""The schema is moved, and the command killed where it writes: it goes on when it is said again, and every row is kept."""

import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

from service.control import look_over
from service.errors import StartRefused
from service.state import StateDir
from service.storage.migrations import MIGRATIONS
from tests.service.conformance.conversation import command
from tests.service.running import State, alter, new_state, rows

BEFORE = 3
"""The schema of the release before."""

FILLED = """
    INSERT INTO sessions VALUES (1, 's', 'label', 1, 9, NULL, 0, 't', 'r');
    INSERT INTO tasks (id, kind, payload, session_id, status, created_at_ms, updated_at_ms, created_by, request_id, attempts)
        VALUES ('a', 'k', '{}', 's', 'queued', 1, 1, 't', 'r', 2), ('b', 'k', '{}', 's', 'failed', 1, 2, 't', 'r', 0);
    INSERT INTO confirmations (id, tool, args, args_sha256, session_id, status, created_at_ms, expires_at_ms, created_by,
        request_id) VALUES ('c', 'file.write', x'7b7d', 'h', 's', 'expired', 1, 9, 't', 'r')
"""
KEPT = (
    "SELECT id, label, created_at_ms, expires_at_ms, turn_count, created_by, request_id FROM sessions",
    "SELECT id, kind, payload, session_id, status, created_at_ms, updated_at_ms, created_by, request_id FROM tasks",
    "SELECT id, tool, args, args_sha256, session_id, status, created_at_ms, expires_at_ms, created_by FROM confirmations",
    "SELECT id, role, name, source, created_at_ms, request_id FROM tokens",
    "SELECT seq, hmac FROM audit WHERE action <> 'database.migrate'",
)


def cut_short_everywhere(directory: Path, first: int, every: int) -> tuple[int, list[str]]:
    """Kill the command at each `every`th write from `first` on, both ways; return how often, and what was wrong."""
    new = new_state(directory / "new")
    alter(new, FILLED)
    old = _copy(new, directory / "old")
    assert _migrate(old, "down") == 0
    cuts, wrong = 0, []
    for way, begin, end in ("down", new, BEFORE), ("up", old, MIGRATIONS[-1].version):
        for write in count(first, every):
            state = _copy(begin, directory / f"{way}-{write}")
            code = _killed(state, write, way)
            if code == 0:
                break
            cuts += 1
            if way == "down" and (problem := _wrong_with_export(state)):
                wrong.append(f"down, killed at write {write}: {problem}")
            if problem := _wrong_with(state, way, code, end, _kept(new)):
                wrong.append(f"{way}, killed at write {write}: {problem}")
    return cuts, wrong


def _wrong_with(state: State, way: str, code: int, end: int, kept: list[object]) -> str | None:
    again = _migrate(state, way)
    if (code, again) != (-signal.SIGKILL, 0):
        return f"exit {code}, and then {again}"
    if rows(state, "PRAGMA user_version") != [(end,)]:
        return "the schema is another one"
    if _kept(state) != kept:
        return "rows are not kept"
    try:
        look_over(state.directory)
    except StartRefused as refused:
        return str(refused)
    return None


def _wrong_with_export(state: State) -> str | None:
    """The row that loses something is in the file, unless nothing has lost anything yet."""
    export = state.directory.root / "lost first"
    if export.exists():
        return None if b'"attempts":2' in export.read_bytes() else "the export is not whole"
    is_new = rows(state, "PRAGMA user_version") == [(MIGRATIONS[-1].version,)]
    return None if is_new else "something is lost, and not exported"


def _copy(state: State, to: Path) -> State:
    shutil.copytree(state.directory.root, to)
    return State(StateDir(to), state.operator, state.observer)


def _kept(state: State) -> list[object]:
    return [rows(state, statement) for statement in KEPT]


def _arguments(state: State, way: str, export: str) -> list[str]:
    more = ["--to", str(BEFORE), "--export", str(state.directory.root / export)]
    return ["migrate", way, *(more if way == "down" else []), "--state", str(state.directory.root)]


def _migrate(state: State, way: str) -> int:
    return command(*_arguments(state, way, "lost"))[0]


def _killed(state: State, write: int, way: str) -> int:
    words = [
        str(state.directory.root),
        str(write),
        "service",
        *_arguments(state, way, "lost first"),
    ]
    shim = [sys.executable, "-m", "chaos.shims.killed", *words]
    return subprocess.run(shim, check=False, capture_output=True).returncode
