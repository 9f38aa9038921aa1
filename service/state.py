"""The state directory: which file is where, and the lock that makes its gateway the only one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from service.errors import AS_OWNER, InUse, StartRefused, of_disk
from service.processes import BEHIND


class StateDir(msgspec.Struct, frozen=True):
    """Paths below one state directory. Nothing here touches the disk but what locks."""

    root: Path

    @property
    def keys(self) -> Path:
        """Key material, mode 0600."""
        return self.root / "keys.json"

    def link(self, server: str) -> Path:
        """The keys between the process `server` and the gateway, mode 0600."""
        return self.root / f"keys.{server}.json"

    def links(self) -> tuple[Path, ...]:
        """The keys between the gateway and each process behind it."""
        return tuple(self.link(each.name) for each in BEHIND)

    @property
    def settings(self) -> Path:
        """Configuration, optional."""
        return self.root / "sonia.yaml"

    @property
    def database(self) -> Path:
        """The control plane's database."""
        return self.root / "control.db"

    @property
    def restored(self) -> Path:
        """What shall take the database's place, from when that is certain until it does."""
        return self.root / "control.db.restored"

    @property
    def sentinel(self) -> Path:
        """Says that there was a control database once, so that none is no fresh one."""
        return self.root / "control.made"

    @property
    def quarantine(self) -> Path:
        """What was found damaged, or was replaced, each time in a directory of its own."""
        return self.root / "quarantine"

    @property
    def backups(self) -> Path:
        """Copies of the control database, one before each change of its schema."""
        return self.root / "backups"

    @property
    def archive(self) -> Path:
        """The audit log's oldest rows, a database."""
        return self.root / "audit-archive.db"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of the audit chain, outside the database on purpose."""
        return self.root / "audit.checkpoints"

    @property
    def torn_checkpoints(self) -> Path:
        """What crashes have left of checkpoints."""
        return self.root / "audit.checkpoints.torn"

    @property
    def clock(self) -> Path:
        """The clock's high-water mark."""
        return self.root / "clock.mark"

    @property
    def token_epoch(self) -> Path:
        """A counter that moves whenever another process changed the tokens."""
        return self.root / "tokens.epoch"

    @property
    def memory_database(self) -> Path:
        """The memory process's database."""
        return self.root / "memory.db"

    @property
    def boot_trace(self) -> Path:
        """What each boot of the gateway took up again."""
        return self.root / "boot.jsonl"

    @property
    def traces(self) -> Path:
        """What was decided about each request, in segments."""
        return self.root / "traces"

    @property
    def events(self) -> Path:
        """What happened beside the requests, in segments."""
        return self.root / "events"

    @property
    def incidents(self) -> Path:
        """Bundles of incidents, each a directory."""
        return self.root / "incidents"

    @property
    def gateway_lock(self) -> Path:
        """Locked while a gateway runs on this directory."""
        return self.root / "gateway.lock"

    def files(self) -> tuple[Path, ...]:
        """Every file that SONIA keeps, whether or not it is there."""
        return (
            self.keys,
            *self.links(),
            self.settings,
            self.database,
            self.restored,
            self.sentinel,
            self.archive,
            self.checkpoints,
            self.torn_checkpoints,
            self.clock,
            self.token_epoch,
            self.memory_database,
            self.boot_trace,
            self.gateway_lock,
        )

    def workspace(self, name: str) -> Path:
        """The tools' working directory, `name` relative to the state directory."""
        return self.root / name

    def lock(self, create: bool = True) -> int | None:
        """Take the gateway's lock and return its descriptor, held until the process ends.

        Without `create` nothing is written: where there is no lock no gateway has ever run, and the answer is None.

        Raises StartRefused when there is no such directory, or it is another user's, who could not open what is made there;
        InUse when another gateway runs on it: two would each believe they own the tokens.
        """
        try:
            if create and (owner := self.root.stat().st_uid) != os.geteuid():
                reason = f"{self.root} belongs to another user ({owner})"
                raise StartRefused(reason, AS_OWNER)
            access = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
            flags = access | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.gateway_lock, flags, 0o600)
        except OSError as wrong:
            if self.root.is_dir():
                if not create and isinstance(wrong, FileNotFoundError):
                    return None
                reason = f"{self.gateway_lock} cannot be opened: {wrong.strerror}"
                raise StartRefused(reason, of_disk(wrong)) from wrong
            reason = f"{self.root} is no state directory ({wrong.strerror})"
            raise StartRefused(reason, "`sonia init` makes one") from wrong
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as held:
            os.close(descriptor)
            raise InUse(f"another gateway is running on {self.root}", "stop it first") from held
        return descriptor

    def hold_keys(self, alone: bool = False) -> int | None:
        """Keep the keys as they are until `unlock`; `alone` keeps everybody else from using them, to renew them.

        None where there is no directory, which whoever looks for something in it will say. Raises StartRefused.
        """
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as held:
            os.close(descriptor)
            reason = "other commands use its keys" if alone else "its keys are being renewed"
            raise StartRefused(f"{self.root}: {reason}", "try again") from held
        return descriptor

    @contextmanager
    def keys_held(self, alone: bool = False) -> Iterator[None]:
        """As `hold_keys`, meanwhile."""
        held = self.hold_keys(alone)
        try:
            yield
        finally:
            self.unlock(held)

    def unlock(self, descriptor: int | None) -> None:
        """Give back what `lock` or `hold_keys` took."""
        if descriptor is not None:
            os.close(descriptor)
