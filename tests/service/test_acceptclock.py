"""Accepting the machine's clock: the time that was ahead is forgotten, and nothing is left open."""

import threading
from pathlib import Path

import msgspec

from service.acceptclock import accept_clock
from service.auth.bootstrap import adopt_bootstrap_tokens
from service.clock import MarkFile, open_clock
from service.control import open_control
from service.ids import random_id
from service.keys import load_keys, write_keys
from tests.service.running import State, rows, sonia

AHEAD_MS = 9_000_000_000_000
"""In the year 2255."""


def test_a_clock_that_was_ahead_is_forgotten(state: State) -> None:
    MarkFile(state.directory.clock).create(AHEAD_MS)
    assert open_clock(state.directory.clock).now_ms() >= AHEAD_MS
    accept_clock(state.directory)
    assert open_clock(state.directory.clock).now_ms() < AHEAD_MS


def test_nothing_is_left_open(state: State) -> None:
    threads = set(threading.enumerate())
    accept_clock(state.directory)
    held = {each.resolve() for each in Path("/proc/self/fd").iterdir()}
    assert state.directory.database.resolve() not in held
    assert set(threading.enumerate()) <= threads


def test_what_had_ended_by_then_is_ended_for_good(state: State) -> None:
    keys = load_keys(state.directory.keys)
    operator, observer = keys.tokens
    ending = msgspec.structs.replace(observer, expires_at_ms=AHEAD_MS)
    state.directory.keys.unlink()
    write_keys(state.directory.keys, msgspec.structs.replace(keys, tokens=(operator, ending)))
    control = open_control(state.directory)
    adopt_bootstrap_tokens(
        control.storage,
        control.registry,
        load_keys(state.directory.keys),
        control.clock,
        random_id,
    )
    control.close()
    MarkFile(state.directory.clock).create(AHEAD_MS)
    assert accept_clock(state.directory)["tokens"] == 1
    ended = rows(state, "SELECT role FROM tokens WHERE revoked_at_ms IS NOT NULL")
    assert ended == [("observer",)]
    open_control(state.directory).close()
    assert sonia(state, "audit", "verify").returncode == 0
