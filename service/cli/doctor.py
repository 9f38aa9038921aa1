"""`sonia doctor`: look a stopped state directory over, and accept a clock that once ran ahead."""

import argparse
from typing import TYPE_CHECKING, Final

from service.cli.shared import add_command, print_line
from service.errors import SoniaError, StartRefused
from service.state import StateDir

if TYPE_CHECKING:
    from service.cli.shared import Commands

_NOTABLE_MS: Final = 1000
EXAMPLES: Final = """\
sonia doctor                   run the checks of a start without starting
sonia doctor --accept-clock    after the machine's clock ran ahead: take the present one as true"""


def add(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "doctor", act, "Check a stopped state.", EXAMPLES)
    command.add_argument(
        "--accept-clock", action="store_true", help="forget the high-water mark of the clock"
    )


def act(options: argparse.Namespace) -> int:
    """Run the checks; with --accept-clock, settle what had expired and start time anew."""
    state = StateDir(options.state.absolute())
    try:
        lock = state.lock()
    except StartRefused as running:
        raise SoniaError(str(running)) from running
    try:
        if options.accept_clock:
            _accept_clock(state)
        _check(state)
    finally:
        state.unlock(lock)
    return 0


def _check(state: StateDir) -> None:
    from service.clock import wall_ms
    from service.control import open_control
    from service.gateway.boot import check_audit, check_operator

    control = open_control(state)
    try:
        check_audit(control)
        ahead_ms = control.clock.now_ms() - wall_ms()
        check_operator(control.registry, control.clock.now_ms())
    finally:
        control.close()
    print_line("settings, keys, database and audit log are sound")
    if ahead_ms > _NOTABLE_MS:
        print_line(f"time stands {ahead_ms / 1000:.0f} s ahead of the machine's clock")


def _accept_clock(state: StateDir) -> None:
    from service.acceptclock import accept_clock

    settled = accept_clock(state)
    print_line("the machine's clock is accepted; ended for good by the old time:")
    for table, count in settled.items():
        print_line(f"  {table}: {count}")
