"""What holds for every test."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell starts what it runs in the background with interrupts ignored, and all that tests start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine only, and a busy one is no reason to fail. Every run tries
# the same examples: what is red is red by a change. New ones are what `nox -s fuzz` is for.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """All that was imported stays: whoever looks for garbage need neither look there nor after every 700 objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


# Plugins are not loaded by themselves.
pytest_plugins = ("syrupy",)


@pytest.fixture(autouse=True)
def same_process() -> Iterator[None]:
    """Tests call commands that take their process for their own; the tests after them, others every time, find it as it was."""
    mask = os.umask(0o077)
    os.umask(mask)
    directory, environment, path = Path.cwd(), dict(os.environ), list(sys.path)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    logged, collects = logging.root.manager.disable, gc.isenabled()
    yield
    os.umask(mask)
    os.chdir(directory)
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    sys.path[:] = path
    for each, handler in handlers.items():
        signal.signal(each, handler)
    logging.disable(logged)
    if collects:
        gc.enable()
