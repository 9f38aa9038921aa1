"""What is told of the supervised processes, and what stands for a supervisor where there is none."""

from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from service.effects import Cause
from service.errors import Conflict, NotFound
from service.processes import BEHIND

NOT_KNOWN: Final = 999
"""The attempts of every process while the database cannot be read: more than any budget has."""


class ServiceState(StrEnum):
    """Where a process stands."""

    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing_off"
    UNREACHABLE = "unreachable"
    MAINTENANCE = "maintenance"
    UNSUPERVISED = "unsupervised"


class ServiceStatus(msgspec.Struct, frozen=True):
    """One process. `attempt_count` restarts count against its budget now; `backoff_until_epoch_ms` is when the next one
    may be made at the earliest, 0 where none was needed. `synthetic`: nobody knows, and none is granted.
    """

    name: str
    state: ServiceState
    pid: int | None = None
    attempt_count: int = 0
    backoff_until_epoch_ms: int = 0
    exhausted: bool = False
    synthetic: bool = False


class Supervision(Protocol):
    """What the gateway's routes ask of a supervisor. Entered, it runs; left, all that it started has ended.

    The operations raise NotFound, Conflict where the process stands otherwise, and Unavailable.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def statuses(self) -> list[ServiceStatus]:
        """Tell of every process, as it stands."""
        ...

    async def restart(self, name: str, cause: Cause) -> ServiceStatus:
        """Write down an attempt, then end the process and spawn it again."""
        ...

    async def reset(self, name: str, cause: Cause) -> ServiceStatus:
        """Give a process all of its budget anew."""
        ...

    async def maintain(self, name: str, enabled: bool, cause: Cause) -> ServiceStatus:
        """Leave a process alone from now on, or no longer."""
        ...

    async def beat(self) -> None:
        """Return when whoever sees to the processes has come by."""
        ...


class Unsupervised:
    """Of a gateway that starts no other process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing was started."""

    def statuses(self) -> list[ServiceStatus]:
        """The table of processes."""
        return [ServiceStatus(each.name, ServiceState.UNSUPERVISED) for each in BEHIND]

    async def restart(self, name: str, _cause: Cause) -> ServiceStatus:
        """Raises NotFound or Conflict."""
        return self._refuse(name)

    async def reset(self, name: str, _cause: Cause) -> ServiceStatus:
        """Raises NotFound or Conflict."""
        return self._refuse(name)

    async def maintain(self, name: str, _enabled: bool, _cause: Cause) -> ServiceStatus:
        """Raises NotFound or Conflict."""
        return self._refuse(name)

    async def beat(self) -> None:
        """Nobody has to."""

    def _refuse(self, name: str) -> ServiceStatus:
        if name not in {each.name for each in BEHIND}:
            raise unknown(name)
        raise Conflict("this gateway starts no other process: `sonia up` does", "unsupervised")


def unknown(name: str) -> NotFound:
    """What is said to whoever asks for a process that is none."""
    return NotFound(f"there is no service {name}")


def degraded() -> list[ServiceStatus]:
    """What is told while the control database cannot be read: no attempt is left to anybody. It is never stored."""
    return [
        ServiceStatus(
            each.name,
            ServiceState.UNREACHABLE,
            attempt_count=NOT_KNOWN,
            exhausted=True,
            synthetic=True,
        )
        for each in BEHIND
    ]
