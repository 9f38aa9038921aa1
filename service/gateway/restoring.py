"""What a boot takes up again: sessions, confirmations, tasks and budgets of restarts, in this order and in one snapshot.

Later ones rest on earlier ones: a confirmation on its session, a task on its confirmation. Every row that is not over is
read and has to be what it should be. What was read is told by its digest in `boot.jsonl`, so that two boots over the same
contents can be seen to have taken up the same.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

import apsw
import msgspec

from service.errors import KEEP_AND_RESTORE, StartRefused
from service.files import replace
from service.query import each

MOST_BYTES: Final = 1 << 18
"""Of a trace that has grown longer, the newer half is kept."""
_json: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Session(msgspec.Struct, frozen=True):
    """A session that nobody has closed."""

    id: str
    label: str
    created_at_ms: int
    expires_at_ms: int
    turn_count: int
    created_by: str


class Confirmation(msgspec.Struct, frozen=True):
    """A call that nobody has decided about."""

    id: str
    tool: str
    args: bytes
    args_sha256: str
    session_id: str | None
    task_id: str | None
    created_at_ms: int
    expires_at_ms: int
    created_by: str

    def __post_init__(self) -> None:
        if hashlib.sha256(self.args).hexdigest() != self.args_sha256:
            raise ValueError("its arguments are not those of its hash")


class Task(msgspec.Struct, frozen=True):
    """Work that is not over."""

    id: str
    kind: str
    payload: str
    session_id: str | None
    status: Literal["queued", "running", "needs_operator"]
    attempts: int
    claim_epoch: int
    not_before_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    created_by: str

    def __post_init__(self) -> None:
        _json.decode(self.payload)


class RestartBudget(msgspec.Struct, frozen=True):
    """How often another process may still be restarted."""

    service_name: str
    window_start_ms: int
    attempt_count: int
    backoff_until_epoch_ms: int
    exhausted: Literal[0, 1]
    updated_at: int


class Phase(msgspec.Struct, frozen=True):
    """One table: what is taken up of it."""

    name: str
    into: type[msgspec.Struct]
    rest: str


PHASES: Final = (
    Phase("sessions", Session, "FROM sessions WHERE closed_at_ms IS NULL ORDER BY seq"),
    Phase(
        "confirmations", Confirmation, "FROM confirmations WHERE status = 'pending' ORDER BY seq"
    ),
    Phase(
        "tasks",
        Task,
        "FROM tasks WHERE status IN ('queued', 'running', 'needs_operator') ORDER BY seq",
    ),
    Phase("restart_budgets", RestartBudget, "FROM restart_budgets ORDER BY service_name"),
)


class Restored(msgspec.Struct, frozen=True):
    """One phase of one boot, as `boot.jsonl` tells it. `sha256` is that of the rows, each as a JSON array and a newline,
    without bytes, whose hash stands beside them. It was over at `monotonic_ms`, by the machine's clock since its start."""

    boot_id: str
    phase: str
    rows: int
    sha256: str
    monotonic_ms: float


def restore(
    connection: apsw.Connection,
    boot_id: str,
    monotonic_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
) -> tuple[Restored, ...]:
    """Read everything that is not over, in one snapshot. Raises StartRefused for a row that is not what it should be."""
    with connection:
        found = [_restore(connection, phase, boot_id, monotonic_ms) for phase in PHASES]
    return tuple(found)


def _restore(
    connection: apsw.Connection, phase: Phase, boot_id: str, monotonic_ms: Callable[[], float]
) -> Restored:
    digest = hashlib.sha256()
    rows = 0
    try:
        for row in each(connection, phase.into, phase.rest):
            told = [each for each in msgspec.structs.astuple(row) if not isinstance(each, bytes)]
            digest.update(msgspec.json.encode(told) + b"\n")
            rows += 1
    except (msgspec.MsgspecError, ValueError) as wrong:
        where = f"control.db: row {rows + 1} of what is open in {phase.name}"
        raise StartRefused(f"{where} cannot be read: {wrong}", KEEP_AND_RESTORE) from wrong
    return Restored(boot_id, phase.name, rows, digest.hexdigest(), round(monotonic_ms(), 3))


def record(path: Path, restored: tuple[Restored, ...]) -> None:
    """Append the phases of a boot to its trace, all of them or none. Raises OSError."""
    lines = b"".join(msgspec.json.encode(each) + b"\n" for each in restored)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(os.fdopen(os.open(path, flags, 0o600), "r+b")) as file:
        before = file.read()
        if before and not before.endswith(b"\n"):
            # A kill cut it off.
            lines = b"\n" + lines
        file.write(lines)
    if len(before) > MOST_BYTES:
        kept = (before + lines)[-MOST_BYTES // 2 :].partition(b"\n")[2]
        replace(path, kept)
