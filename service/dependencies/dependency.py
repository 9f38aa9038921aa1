"""One process behind the gateway: its client, its breaker, and the probe that notices its return."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from service.dependencies.breaker import Breaker, BreakerState, Permit
from service.dependencies.errors import DependencyUnavailable
from service.http.client import HttpAnswer, HttpClient, HttpError, HttpRequest, PoolExhausted

PROBE_PATH = "/internal/ready"
RECHECK_S = 0.1

log = logging.getLogger(__name__)


class CallNotSent(DependencyUnavailable):
    """The breaker is open, no slot was free or no connection was made: the request did not go out."""


class Dependency:
    """Calls one process through its breaker.

    `probe_within_s` bounds one probe; `probe_every_s` is the pause between probes while all is well.
    Probes take the same client, link and credentials as traffic, so what they find out holds for it. `on_up` is called
    whenever it turns out to be there, or there again.
    """

    def __init__(
        self,
        name: str,
        client: HttpClient,
        breaker: Breaker,
        *,
        probe_within_s: float,
        probe_every_s: float,
        jitter: Callable[[], float],
    ) -> None:
        self.name = name
        self._client = client
        self._breaker = breaker
        self._probe_within_s = probe_within_s
        self._probe_every_s = probe_every_s
        self._jitter = jitter
        self._answered_once = False
        self._probing: asyncio.Task[None] | None = None
        self._tripped = asyncio.Event()
        self._is_up = asyncio.Event()
        self.on_up: Callable[[], None] = lambda: None

    @property
    def up(self) -> bool:
        """Whether calls go out now; False until the process answered for the first time."""
        return self._answered_once and self._breaker.state is BreakerState.CLOSED

    @property
    def breaker_state(self) -> BreakerState:
        """Where the breaker stands."""
        return self._breaker.state

    def on_breaker(self, listener: Callable[[BreakerState], None]) -> None:
        """Have `listener` called with each new state of the breaker; it must not wait."""
        self._breaker.on_change = listener

    async def wait_until_up(self) -> None:
        """Wait until calls go out; at once when they do."""
        await self._is_up.wait()

    def retry_in_s(self) -> float:
        """Seconds after which asking again makes sense."""
        return self._breaker.probe_due_in_s()

    async def call(self, request: HttpRequest) -> HttpAnswer:
        """One call of traffic; returns any answer below 500.

        Raises CallNotSent at once while the breaker is open, and CallNotSent or DependencyUnavailable when
        the call failed, was answered with a 5xx, or took longer than it may.
        """
        permit = self._breaker.admit()
        if permit is None:
            raise CallNotSent(f"{self.name} is down")
        return await self._attempt(permit, request)

    async def probe(self) -> bool:
        """One probe, if the breaker allows it; True when it was answered with 200."""
        permit = self._breaker.admit_probe()
        if permit is None:
            return False
        with contextlib.suppress(DependencyUnavailable):
            await self._attempt(permit, HttpRequest("GET", PROBE_PATH, self._probe_within_s))
            return True
        return False

    def start_probing(self) -> None:
        """Begin to probe in the background; needs a running loop."""
        self._probing = asyncio.create_task(self._probe_for_ever(), name=f"probe {self.name}")

    async def close(self) -> None:
        """Stop probing and drop all connections."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        await self._client.close()

    async def _attempt(self, permit: Permit, request: HttpRequest) -> HttpAnswer:
        try:
            answer = await self._client.send(request)
        except PoolExhausted as error:
            # The gateway's own load, not the dependency, used up the time.
            self._breaker.released(permit)
            raise CallNotSent(f"{self.name}: {error}") from None
        except HttpError as error:
            await self._failed(permit, str(error))
            kind = DependencyUnavailable if error.sent else CallNotSent
            raise kind(f"{self.name}: {error}") from None
        except BaseException:
            # The caller went away. The half-open slot must come free again, or nobody could ever probe.
            self._breaker.released(permit)
            raise
        if not _healthy(permit, answer.status):
            await self._failed(permit, f"status {answer.status}")
            raise DependencyUnavailable(f"{self.name} answered {answer.status}")
        self._succeeded(permit)
        return answer

    async def _failed(self, permit: Permit, why: str) -> None:
        if permit.probe and not self._answered_once and self._breaker.state is BreakerState.CLOSED:
            # It is still starting. Opening now would keep the first callers away from it for a while after
            # it is there; traffic, should there be any, opens the breaker by its own failures.
            self._breaker.released(permit)
            return
        was_closed = self._breaker.state is BreakerState.CLOSED
        self._breaker.failed(permit)
        if was_closed and self._breaker.state is BreakerState.OPEN:
            self._tripped.set()
            self._is_up.clear()
            log.warning("%s is down: %s", self.name, why)
            # What broke one connection has broken its neighbours; the next call starts afresh.
            await self._client.renew()

    def _succeeded(self, permit: Permit) -> None:
        before = self._breaker.generation
        self._breaker.succeeded(permit)
        if self._breaker.generation != before or not self._answered_once:
            log.info("%s is up", self.name)
            self._answered_once = True
            self.on_up()
        if self.up:
            self._is_up.set()

    async def _probe_for_ever(self) -> None:
        while True:
            self._tripped.clear()
            try:
                answered = await self.probe()
            except Exception:
                # A probe that crashes must not end probing: without it an open breaker never closes.
                log.exception("probe of %s crashed", self.name)
                answered = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(answered)):
                    await self._tripped.wait()

    def _pause_s(self, answered: bool) -> float:
        if self._breaker.state is BreakerState.OPEN:
            return self._breaker.probe_due_in_s()
        if not answered:
            return min(RECHECK_S, self._probe_every_s)
        return self._probe_every_s * (0.75 + 0.5 * self._jitter())


def _healthy(permit: Permit, status: int) -> bool:
    """Any whole answer below 500 shows a living process; a probe asks for more, as it is signed rightly."""
    return status == 200 if permit.probe else status < 500
