"""What holds for every test."""

import signal

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

# Plugins are not loaded by themselves.
pytest_plugins = ("syrupy",)
