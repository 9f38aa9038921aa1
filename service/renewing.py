"""New keys for a state directory that nobody works on: those between processes, and the one of the audit log.

Rows that are there keep the HMACs that they have, so the key that they were written with is kept with the last row that it may
have written (docs/decisions/110). While nobody else can write, the new key is put on disk, and the first row that it writes
says so, and holds the end of the log before it. A kill between the two leaves a key in force that no row tells of: whoever opens the
state next writes that row.
"""

from contextlib import closing

from service.audit.chain import Chain
from service.audit.checkpoints import CheckpointWriter
from service.clock import open_clock
from service.control import look_over, refusing, tell_of_keys
from service.keys import generate_link, replace_keys
from service.processes import BEHIND, GATEWAY
from service.state import StateDir
from service.storage.database import immediately, open_database


def renew_keys(state: StateDir) -> int:
    """Renew all keys; return the last row of the audit log that an earlier one has written.

    Whoever calls it has the gateway's lock, and holds the keys alone. Raises StartRefused.
    """
    sound = look_over(state)
    with refusing(state):
        clock = open_clock(state.clock)
        clock.raise_to(sound.checked.head.at_ms)
        write_links(state)
        with closing(open_database(state.database, sound.settings.storage)) as connection:
            before = Chain(sound.keys.audit_key_bytes(), sound.checked.head)
            with immediately(connection):
                before.follow(connection)
                tell_of_keys(connection, before, sound.keys, clock.now_ms())
                renewed = sound.keys.renewed(before.head.seq)
                replace_keys(state.keys, renewed)
                chain = Chain(renewed.audit_key_bytes(), before.head)
                tell_of_keys(connection, chain, renewed, clock.now_ms())
        key = renewed.audit_key_bytes()
        CheckpointWriter(state.checkpoints, key, 1, sound.checked.last_seq).write(chain.head)
        clock.sync()
    return before.head.seq


def write_links(state: StateDir) -> None:
    """Make the keys between processes anew, each file at once."""
    for each in BEHIND:
        replace_keys(state.link(each.name), generate_link(GATEWAY.name, each.name))
