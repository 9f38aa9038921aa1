"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine only, and a busy one is no reason to fail.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# Plugins are not loaded by themselves.
pytest_plugins = ("syrupy",)
