"""The processes behind the gateway, as the gateway sees them: called over HTTP, each behind its own breaker."""

from collections.abc import Callable, Mapping

import msgspec

from service.dependencies.breaker import Breaker, BreakerLimits
from service.dependencies.dependency import Dependency
from service.dependencies.errors import (
    DependencyUnavailable,
    MemoryRefused,
    MemoryUnavailable,
    ModelUnavailable,
    ToolOutcomeUnknown,
    ToolsUnavailable,
)
from service.dependencies.memory import MemoryClient
from service.dependencies.model import ModelClient
from service.dependencies.tools import ToolsClient
from service.errors import StartRefused
from service.http.client import HttpLimits, SignedClient
from service.keys import Link
from service.processes import BEHIND, Process
from service.settings import Settings

# What a tool's answer may take beyond the tool itself: ending its processes, draining its output, the way back.
TOOLS_GRACE_S = 5.0


class Dependencies(msgspec.Struct, frozen=True):
    """All dependencies by name, and a client of each."""

    by_name: Mapping[str, Dependency]
    memory: MemoryClient
    model: ModelClient
    tools: ToolsClient

    def start(self) -> None:
        """Begin to probe in the background; call it inside the event loop."""
        for dependency in self.by_name.values():
            dependency.start_probing()

    async def close(self) -> None:
        """Stop probing and drop all connections."""
        for dependency in self.by_name.values():
            await dependency.close()

    def states(self) -> dict[str, str]:
        """`up` or `down` for each dependency, as it stands; asks nobody."""
        return {
            name: "up" if dependency.up else "down" for name, dependency in self.by_name.items()
        }


def open_dependencies(
    urls: Mapping[str, str],
    links: Mapping[str, Link],
    settings: Settings,
    clock: Callable[[], float],
    jitter: Callable[[], float],
) -> Dependencies:
    """Clients of the processes at `urls`, by their names, with the keys of their `links`; nothing is sent yet.

    `clock` gives monotonic seconds, `jitter` a number in [0, 1). Raises StartRefused for a URL or a limit that cannot
    be used.
    """
    turn = settings.turn
    try:
        by_name = {
            each.name: _open(each, urls[each.name], links[each.name], settings, clock, jitter)
            for each in BEHIND
        }
    except ValueError as error:
        raise StartRefused(str(error), "correct SONIA_<PROCESS>_URL or sonia.yaml") from error
    return Dependencies(
        by_name,
        MemoryClient(by_name["memory"], turn.memory_timeout_s, settings.outbox.timeout_s),
        ModelClient(by_name["model"], turn.model_timeout_s),
        ToolsClient(by_name["tools"], settings.tools.timeout_s + TOOLS_GRACE_S),
    )


def _open(
    process: Process,
    url: str,
    link: Link,
    settings: Settings,
    clock: Callable[[], float],
    jitter: Callable[[], float],
) -> Dependency:
    limits = settings.breaker
    breaker = Breaker(
        BreakerLimits(limits.failures, limits.open_for_s, limits.max_open_for_s), clock, jitter
    )
    client = SignedClient(url, link, HttpLimits())
    return Dependency(
        process.name,
        client,
        breaker,
        probe_within_s=process.probe_within_s(settings.turn),
        probe_every_s=limits.probe_every_s,
        jitter=jitter,
    )


__all__ = [
    "Dependencies",
    "DependencyUnavailable",
    "MemoryRefused",
    "MemoryUnavailable",
    "ModelUnavailable",
    "ToolOutcomeUnknown",
    "ToolsClient",
    "ToolsUnavailable",
    "open_dependencies",
]
