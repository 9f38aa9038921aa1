"""Whether something may have ended a connection before its last byte, while an answer was read."""

from chaos.engine.scope import Endpoint, Scope


class Doubts:
    """What was on when a request was about to be sent; `any` then tells of all of its time.

    Sealing asks the same again of all that was recorded, loads included; here it is what an `expect` rests on.
    """

    def __init__(self, scope: Scope, endpoint: Endpoint) -> None:
        self._scope = scope
        self._endpoint = endpoint
        self._began_ms = scope.clock.now_ms()
        self._windows = list(scope.run.windows.values())

    def any(self) -> bool:
        """Whether a fault was on that ends connections, or the process that was asked has ended since."""
        windows = [*self._windows, *self._scope.run.windows.values()]
        life = self._scope.stack.lives.get(self._endpoint.process)
        return (
            any(w.may_have_ended(self._endpoint.link, self._began_ms) for w in windows)
            or life is None
            or not life.alive
            or life.started_ms > self._began_ms
        )
