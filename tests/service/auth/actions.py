"""What can be done to tokens, at times that a test gives."""

from collections.abc import Callable
from itertools import count

from service.auth import rotation, tokens
from service.auth.credentials import Actor, judge
from service.auth.registry import load_record
from service.control import Control
from service.effects import system_cause
from service.keys import hash_secret

NOW = 10_000


class Actions:
    """Does things to tokens at a time that is given."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.published = 0
        self._numbers = count(1)

    def _published(self) -> None:
        self.published += 1

    def change(self, now_ms: int) -> tokens.Change:
        return tokens.Change(now_ms, "req_test", self._published)

    def do(self, run: Callable[..., object]) -> object:
        cause = system_cause("test", "token.test", "req_test")
        return self.control.storage.change_now(cause, run)  # type: ignore[arg-type]

    def issue(
        self,
        now_ms: int = NOW,
        ttl_ms: int | None = None,
        role: str = "operator",
        secret: str = "first",
    ) -> str:
        new = tokens.NewToken(role, "alice", ttl_ms)
        issued = self.do(
            lambda connection: tokens.issue(
                connection,
                new,
                secret,
                lambda prefix: f"{prefix}_{next(self._numbers)}",
                self.change(now_ms),
            )
        )
        assert isinstance(issued, tokens.Issued)
        return issued.id

    def rotate(self, token_id: str, secret: str, now_ms: int, window_ms: int = 1000) -> None:
        self.do(
            lambda connection: rotation.rotate(
                connection, token_id, window_ms, secret, self.change(now_ms)
            )
        )

    def revoke(self, token_id: str, now_ms: int) -> None:
        self.do(lambda connection: rotation.revoke(connection, token_id, self.change(now_ms)))

    def live(self, token_id: str, now_ms: int) -> list[str]:
        record = self.control.storage.read(lambda connection: load_record(connection, token_id))
        assert record is not None
        return [
            name
            for name in ("first", "second", "third", "fourth", "fifth")
            if isinstance(judge(record, hash_secret(name), now_ms), Actor)
        ]
