"""The audit log is archived, and the process killed where it writes: no row is lost, and the chain is whole at once and after it went on.

As a module it archives what is in a state directory, in small steps.
"""

import shutil
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import apsw

from service.audit import archive
from service.audit.verify import verify_audit
from service.control import look_over, open_control
from service.effects import Effect, system_cause
from service.errors import StartRefused
from service.keys import load_keys
from service.state import StateDir
from service.storage.database import look_at
from tests.service.running import new_state

STEP = 8
ROWS = 20
_ALL: Any = "SELECT seq, hmac FROM audit"


def archive_all(state: StateDir) -> None:
    """Move all that can be moved, in steps of STEP rows, up to the row ROWS."""
    archive.ROWS_A_STEP = STEP  # type: ignore[misc]
    cause = system_cause("test", "audit.archive", "req_archive")
    with closing(open_control(state)) as control:
        key = control.keys.audit_keys()
        copy = partial(archive.copy_step, path=state.archive, keys=key, before_ms=1 << 60)
        storage = control.storage
        while step := storage.read(partial(copy, settings=control.settings.storage)):
            storage.change_now(cause, partial(archive.delete_step, step=step, keys=key))
            if step.to_seq + STEP > ROWS:
                return


def kill_everywhere(directory: Path, first: int, every: int) -> tuple[int, list[str]]:
    """Kill it at each `every`th write from `first` on; return how often, and what was wrong."""
    begin = new_state(directory / "new").directory
    with closing(open_control(begin)) as control:
        for _ in range(ROWS):
            cause = system_cause("test", "act", "req")
            control.storage.change_now(cause, lambda _: Effect(None, "things", "1"))
    rows = set(look_at(begin.database, lambda connection: list(connection.execute(_ALL))))
    cuts, wrong = 0, []
    for write in count(first, every):
        state = StateDir(directory / f"killed-{write}")
        shutil.copytree(begin.root, state.root)
        words = [str(state.root), str(write), "tests.crash.archiving", str(state.root)]
        shim = [sys.executable, "-m", "chaos.shims.killed", *words]
        code = subprocess.run(shim, check=False, capture_output=True).returncode
        if code == 0:
            break
        cuts += 1
        problem = None if code == -signal.SIGKILL else f"exit {code}"
        problem = problem or _wrong_with(state, rows)
        archive_all(state)
        if problem := problem or _wrong_with(state, rows):
            wrong.append(f"archiving, killed at write {write}: {problem}")
    return cuts, wrong


def _wrong_with(state: StateDir, rows: "set[tuple[apsw.SQLiteValue, ...]]") -> str | None:
    try:
        look_over(state)
    except StartRefused as refused:
        return str(refused)
    key = load_keys(state.keys).audit_keys()
    check = partial(verify_audit, checkpoints_path=state.checkpoints, keys=key)
    report = look_at(state.database, partial(check, archive=state.archive))
    if not report.intact or report.elsewhere_to_seq:
        return f"{report.reason or 'rows are nowhere'}"
    found = set(look_at(state.database, lambda connection: list(connection.execute(_ALL))))
    if report.archived_rows:
        found |= set(look_at(state.archive, lambda connection: list(connection.execute(_ALL))))
    return None if rows <= found else "a row is lost"


if __name__ == "__main__":
    archive_all(StateDir(Path(sys.argv[1])))
