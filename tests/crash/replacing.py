"""A backup is made, or put in place, and that killed where it writes: what is there is whole, what had ended stays so, and asked for again it is done."""

import json
import shutil
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import msgspec

from service.audit.verify import verify_audit, verify_copy
from service.control import look_over, open_control
from service.effects import Effect, system_cause
from service.errors import DatabaseLost, SoniaError
from service.keys import load_keys
from service.state import StateDir
from service.storage.database import look_at
from tests.service.conformance.conversation import command
from tests.service.running import new_state
from tests.service.test_files import is_killed

ROWS = 20


class Made(msgspec.Struct, frozen=True):
    """A state as a killed gateway has left it, a token that was revoked there, and two backups of before that."""

    state: StateDir
    token: str
    backups: tuple[Path, Path]


def make(directory: Path) -> Made:
    """The second backup has more in it than the first; what followed is in the write-ahead log alone."""
    new = new_state(directory / "new").directory
    made = StateDir(directory / "made")
    backups = directory / "first.db", directory / "second.db"
    place = ("--state", str(new.root))
    issued = command("token", "issue", "--role", "operator", "--name", "alice", "--json", *place)
    token = str(json.loads(issued[1])["id"])
    with closing(open_control(new)) as control:
        for backup in backups:
            for _ in range(ROWS):
                cause = system_cause("test", "act", "req")
                control.storage.change_now(cause, lambda _: Effect(None, "things", "1"))
            assert command("backup", str(backup), *place)[0] == 0
        assert command("token", "revoke", token, *place)[0] == 0
        shutil.copytree(new.root, made.root)
    return Made(made, token, backups)


def cut_backups_short(directory: Path, first: int, every: int) -> tuple[int, list[str]]:
    """Kill a backup at each `every`th write from `first` on; return how often, and what was wrong."""
    made, out = make(directory), directory / "out"
    out.mkdir()
    before, keys = _content(made.state.root), load_keys(made.state.keys).audit_keys()
    file = out / "backup.db"
    words = ("backup", str(file), "--state", str(made.state.root))
    wrong = []
    for cuts, write in enumerate(count(first, every)):
        killed = is_killed(out, write, partial(command, *words))
        problem = None
        if file.exists():
            report, _ = look_at(file, lambda connection: verify_copy(connection, keys))
            problem = report.reason
            file.unlink()
        code, _, errors = command(*words)
        problem = problem or (errors if code else None)
        if [path.name for path in out.iterdir()] != [file.name]:
            problem = problem or "something is left beside it"
        if _content(made.state.root) != before:
            problem = problem or "the state is another one"
        if problem:
            wrong.append(f"a backup, killed at write {write}: {problem}")
        file.unlink(missing_ok=True)
        if not killed:
            return cuts, wrong
    raise AssertionError


def cut_restores_short(directory: Path, first: int, every: int) -> tuple[int, list[str]]:
    """Kill it at each `every`th write from `first` on, and with the other backup again; return how often, and what was wrong."""
    made, wrong = make(directory), []
    for cuts, write in enumerate(count(first, every)):
        state = StateDir(directory / f"killed-{write}")
        shutil.copytree(made.state.root, state.root)
        tries = [
            partial(command, "restore", str(backup), "--state", str(state.root))
            for backup in reversed(made.backups)
        ]
        killed = []
        for act in tries:
            killed.append(is_killed(state.root, write, act))
            if problem := _wrong_with(state, made.token, lost=killed[-1]):
                wrong.append(f"a restore, killed at write {write}: {problem}")
        code, _, errors = tries[0]()
        if problem := errors if code else _wrong_with(state, made.token, lost=False):
            wrong.append(f"a restore, after one that was killed at write {write}: {problem}")
        shutil.rmtree(state.root)
        if not killed[0]:
            return cuts, wrong
    raise AssertionError


def _wrong_with(state: StateDir, token: str, *, lost: bool) -> str | None:
    """What a start would find; with `lost` there may be no database, and it is said how one is put there."""
    try:
        sound = look_over(state)
    except DatabaseLost as said:
        return None if lost and "`sonia restore BACKUP`" in str(said) else str(said)
    except SoniaError as refused:
        return str(refused)
    if sound.tokens[token].revoked_at_ms is None:
        return "a token that was revoked works"
    keys = sound.keys.audit_keys()
    report = look_at(
        state.database, partial(verify_audit, checkpoints_path=state.checkpoints, keys=keys)
    )
    return report.reason


def _content(root: Path) -> dict[str, bytes]:
    """Every file, but for what SQLite's processes share while they read."""
    return {
        path.name: path.read_bytes()
        for path in root.iterdir()
        if path.is_file() and not path.name.endswith("-shm")
    }
