"""Opening a state directory: what the gateway and the `sonia` commands have in common.

Every check stands in `open_control`, in order; whatever is not as it must be raises StartRefused.
"""

import os
import sys
from collections.abc import Callable

import msgspec

from service.audit.chain import read_head
from service.auth.epoch import EpochFile
from service.auth.registry import Registry, load_records
from service.clock import Clock, open_clock
from service.keys import KeyMaterial, load_keys
from service.settings import Settings, load_settings
from service.state import StateDir
from service.storage import Storage
from service.storage.database import check_integrity, open_database
from service.storage.migrations import migrate

EXIT_FATAL = 70


class Control(msgspec.Struct, frozen=True):
    """An opened state directory. `storage` is started; close it with `close`."""

    state: StateDir
    settings: Settings
    keys: KeyMaterial
    clock: Clock
    storage: Storage
    registry: Registry
    epoch: EpochFile

    def close(self) -> None:
        """Finish what is queued, close the database and put the clock's mark on disk."""
        self.storage.stop()
        self.clock.sync()


def die(reason: str) -> None:
    """End this process at once: after a disk error under COMMIT no further answer can be honest."""
    sys.stderr.write(f"fatal: {reason}\n")
    sys.stderr.flush()
    os._exit(EXIT_FATAL)


def open_control(state: StateDir, fatal: Callable[[str], None] = die) -> Control:
    """Check and open `state`. Raises StartRefused."""
    settings = load_settings(state.settings)
    clock = open_clock(state.clock)
    keys = load_keys(state.keys)
    connection = open_database(state.database, settings.storage)
    check_integrity(connection)
    migrate(connection, clock.now_ms())
    clock.raise_to(read_head(connection).at_ms)
    storage = Storage(connection, state, settings, clock, keys.audit_key_bytes(), fatal)
    storage.start()
    epoch = EpochFile(state.token_epoch)
    registry = Registry(epoch, lambda: storage.read(load_records))
    return Control(state, settings, keys, clock, storage, registry, epoch)
