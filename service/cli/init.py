"""`sonia init`: make a state directory with key material, a configuration and an empty database."""

import argparse
import os
import time
from typing import TYPE_CHECKING, Final

from service.cli.shared import Commands, add_command, print_json, print_line
from service.errors import SoniaError
from service.state import StateDir

if TYPE_CHECKING:
    from service.keys import NewKeys

EXAMPLES: Final = """\
sonia init --state ./sonia-state          make it and show the two tokens once
sonia init --state ./sonia-state --json   the same for programs
sonia init --state ./sonia-state --force  put an existing state aside and start anew
sonia init --state ./sonia-state --links  keep it, but make the keys between processes anew"""

CONFIGURATION: Final = """\
# Configuration of SONIA. What is left out keeps its default; an unknown key refuses to start.
# auth:
#   enabled: true
#   rotation_window_s: 30
#   stream_recheck_s: 0.25
# turn:
#   memory_timeout_s: 0.5
#   model_timeout_s: 2
# confirmations:
#   ttl_s: 300
"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(commands, common, "init", act, "Make a state directory.", EXAMPLES)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    existing = command.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="put an existing state aside first")
    existing.add_argument(
        "--links", action="store_true", help="only make the keys between processes anew"
    )


def act(options: argparse.Namespace) -> int:
    """Make the directory and print the bootstrap tokens, which are stored nowhere."""
    state = StateDir(options.state.absolute())
    if options.links:
        renew_links(state)
        return 0
    keys = create_state(state, options.force)
    if options.json:
        print_json(
            {
                "operator": keys.operator,
                "observer": keys.observer,
                "state": str(state.root),
            }
        )
        return 0
    print_line(f"Made {state.root}. These two tokens are shown this once:")
    print_line(f"  operator  {keys.operator}")
    print_line(f"  observer  {keys.observer}")
    print_line(f"Start it with: sonia up --state {options.state}")
    return 0


def create_state(state: StateDir, force: bool) -> "NewKeys":
    """Make everything below `state`, the tokens' first audit rows and checkpoint included."""
    # SQLite gives its files the mode that the umask leaves.
    before = os.umask(0o077)
    try:
        return _create(state, force)
    finally:
        os.umask(before)


def _create(state: StateDir, force: bool) -> "NewKeys":
    from service.auth.bootstrap import adopt_bootstrap_tokens
    from service.clock import create_clock
    from service.control import open_control
    from service.files import write_new
    from service.ids import random_id
    from service.keys import generate_keys, write_keys
    from service.renewing import write_links
    from service.settings import StorageSettings
    from service.storage.database import open_database
    from service.storage.migrations import migrate

    state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.root.chmod(0o700)
    _make_room(state, force)
    if not state.settings.exists():
        write_new(state.settings, CONFIGURATION.encode())
    clock = create_clock(state.clock)
    keys = generate_keys(clock.now_ms())
    write_links(state)
    connection = open_database(state.database, StorageSettings(), create=True)
    migrate(connection, clock.now_ms())
    connection.close()
    write_keys(state.keys, keys.material)
    control = open_control(state)
    try:
        adopt_bootstrap_tokens(
            control.storage, control.registry, control.keys, control.clock, random_id
        )
    finally:
        control.close()
    return keys


def renew_links(state: StateDir) -> None:
    """Make the keys between processes anew, for a state whose gateway does not run, also one of the release before."""
    from service.keys import load_keys, replace_keys
    from service.renewing import write_links
    from service.trust import check_directory

    lock = state.lock(create=False)
    try:
        check_directory(state.root)
        replace_keys(state.keys, load_keys(state.keys, earlier=True))
        write_links(state)
    finally:
        state.unlock(lock)


def _make_room(state: StateDir, force: bool) -> None:
    """Refuse a directory in use, or with `force` move what is in it to a directory beside it."""
    present = [path for path in state.root.iterdir() if path != state.settings]
    if not any(path.exists() for path in (state.keys, state.database, state.sentinel)):
        return
    if not force:
        raise SoniaError(f"{state.root} is in use already; --force puts it aside")
    lock = state.lock()
    aside = state.root / f"replaced-{time.time_ns() // 1_000_000}"
    aside.mkdir(mode=0o700)
    for path in present:
        if not path.name.startswith("replaced-") and path != state.gateway_lock:
            path.rename(aside / path.name)
    state.unlock(lock)
