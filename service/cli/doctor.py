"""`sonia doctor`: look a stopped state directory over, and accept a clock that once ran ahead."""

import argparse
from typing import TYPE_CHECKING, Final

import msgspec

from service.cli.shared import Commands, add_command, locked, print_json, print_line
from service.state import StateDir

if TYPE_CHECKING:
    import apsw

    from service.control import Sound
    from service.settings import Settings

_NOTABLE_MS: Final = 1000
_KEPT: Final = (
    "idempotency",
    "outbox",
    "dead_letters",
    "turns",
    "sessions",
    "tasks",
    "confirmations",
    "tool_runs",
    "restart_attempts",
    "boots",
)
EXAMPLES: Final = """\
sonia doctor                   run the checks of a start without starting
sonia doctor --json            the same, and every setting as it would be in force
sonia doctor --accept-clock    after the machine's clock ran ahead: take the present one as true
sonia doctor --readmit         after a damaged database was mended by hand in quarantine/"""


class DoctorReport(msgspec.Struct, frozen=True):
    """What a sound state directory would be run with.

    `listens` is where each process would listen, host and port; `ahead_ms` is how far its time stands ahead of the
    machine's clock, `settled` how many rows of each table --accept-clock ended. `rows` says how
    much is kept, `denied` being those of `audit` about refused attempts; of `audit_archive` those up to
    `elsewhere_to_seq` are in no archive that is here.
    """

    settings: "Settings"
    listens: dict[str, str]
    ahead_ms: int
    settled: dict[str, int]
    rows: dict[str, int]
    elsewhere_to_seq: int | msgspec.UnsetType = msgspec.UNSET


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "doctor", act, "Check a stopped state.", EXAMPLES)
    command.add_argument(
        "--accept-clock", action="store_true", help="forget the high-water mark of the clock"
    )
    command.add_argument(
        "--readmit",
        action="store_true",
        help="put the database back that was put aside last, if it is sound after all",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Run the checks; with --accept-clock, settle what had expired and start time anew."""
    state = StateDir(options.state.absolute())
    with locked(state, create=options.accept_clock or options.readmit):
        settled = _accept_clock(state, options.json) if options.accept_clock else {}
        if options.readmit:
            _readmit(state, options.json)
        report = _check(state, settled)
    if options.json:
        print_json(report)
        return 0
    print_line("settings, keys, database and audit log are sound")
    print_line("rows: " + ", ".join(f"{name} {count}" for name, count in report.rows.items()))
    if report.elsewhere_to_seq:
        print_line(f"rows of the audit log up to {report.elsewhere_to_seq} are in no archive here")
    if report.ahead_ms > _NOTABLE_MS:
        print_line(
            f"time stands {report.ahead_ms / 1000:.0f} s ahead of the machine's clock;"
            " if that is right, `sonia doctor --accept-clock`"
        )
    return 0


def _check(state: StateDir, settled: dict[str, int]) -> DoctorReport:
    from service.auth.registry import live_roles
    from service.clock import wall_ms
    from service.control import look_over
    from service.gateway.checks import check_operator
    from service.gateway.tls import open_tls
    from service.processes import PROCESSES
    from service.storage.database import look_at
    from service.tools.workspace import require_apart

    addresses = {name: process.listen() for name, process in PROCESSES.items()}
    listens = {name: f"{each.host}:{each.port}" for name, each in addresses.items()}
    sound = look_over(state)
    rows = look_at(state.database, _rows_kept, sound.settings.storage.busy_timeout_s)
    archived, elsewhere = _archived(state, sound)
    rows = {"audit": rows.pop("audit"), "audit_archive": archived, **rows}
    check_operator(live_roles(sound.tokens, sound.now_ms))
    open_tls(state.root, sound.settings.http.tls)
    require_apart(state.workspace(sound.settings.tools.workspace), state)
    return DoctorReport(
        sound.settings,
        listens,
        max(0, sound.now_ms - wall_ms()),
        settled,
        rows,
        elsewhere or msgspec.UNSET,
    )


def _archived(state: StateDir, sound: "Sound") -> tuple[int, int]:
    """How many rows the audit log's archive has, and up to which they are in none. Raises StartRefused for a damaged one."""
    from service.audit.archive import Lost, check_archive, read_archived
    from service.errors import KEEP_AND_RESTORE, StartRefused
    from service.storage.database import look_at
    from service.trust import check_database

    check_database(state.archive)
    keys = sound.keys.audit_keys()
    archived = look_at(state.database, lambda connection: read_archived(connection, keys))
    try:
        rows = check_archive(state.archive, keys, archived, {}) if archived.to_seq else 0
    except Lost as lost:
        where = "" if lost.seq is None else f" at row {lost.seq}"
        raise StartRefused(
            f"{state.archive.name} is not sound{where}: {lost.reason}", KEEP_AND_RESTORE
        ) from lost
    return rows or 0, archived.to_seq - (rows or 0)


def _rows_kept(connection: "apsw.Connection") -> dict[str, int]:
    """Count what is kept. Raises StartRefused when a boot would stop at a row that it has to take up."""
    from service.gateway.restoring import restore
    from service.storage.migrations import MIGRATIONS, check_schema

    if check_schema(connection) == MIGRATIONS[-1].version:
        restore(connection, "doctor")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    counts = {
        "audit": "SELECT count(*) FROM audit",
        "denied": "SELECT count(*) FROM audit WHERE outcome = 'denied'",
        # Tables that the next start makes have no rows yet.
        **{table: f"SELECT count(*) FROM {table}" for table in _KEPT if table in tables},  # noqa: S608 - our own words
    }
    return {name: int(connection.execute(count).get) for name, count in counts.items()}


def _readmit(state: StateDir, quiet: bool) -> None:
    from service.cli.restore import tell
    from service.replacing import readmit

    replaced = readmit(state)
    if not quiet:
        tell(replaced, as_json=False)


def _accept_clock(state: StateDir, quiet: bool) -> dict[str, int]:
    from service.acceptclock import accept_clock

    settled = accept_clock(state)
    if not quiet:
        print_line("the machine's clock is accepted; ended for good by the old time:")
        for table, count in settled.items():
            print_line(f"  {table}: {count}")
    return settled
