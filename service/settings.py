"""Configuration: `sonia.yaml` in the state directory.

Unknown keys, wrong types and values out of range refuse to start. An absent section means its
defaults, so leaving `auth` out leaves authentication on.
"""

import os
import re
import stat
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec

from service.errors import StartRefused

NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Origin = Annotated[str, msgspec.Meta(pattern=r"^(\*|https?://[^/\s*]+)$")]

MOST_BYTES: Final = 65_536
_NOTHING: Final = re.compile(r"(?: *(?:#[\x20-\x7e]*)?\n)*")
LOOPBACK_NAMES: Final = ("127.0.0.1", "::1", "localhost")
LOOPBACK: Final = frozenset(LOOPBACK_NAMES)
EVERY_ORIGIN: Final = "*"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the file; what it does not know it refuses."""


class AuthSettings(_Section, frozen=True):
    """Who may call, and for how long an old secret still works after a rotation."""

    enabled: bool = True
    everybody_is_operator: bool = False  # what `enabled: false` means, to be said beside it
    rotation_window_s: NonNegative = 30.0
    stream_recheck_s: Positive = 0.25
    denied_audit_per_s: Positive = 20.0  # for each reason of refusal and known caller


class CorsSettings(_Section, frozen=True):
    """Which origins' pages may read answers, or `*`, and whether with what a browser knows of the user (cookies)."""

    origins: tuple[Origin, ...] = ()
    credentials: bool = False

    def __post_init__(self) -> None:
        if self.credentials and EVERY_ORIGIN in self.origins:
            raise ValueError("with credentials the origins must be named: * is everybody's page")


class TlsSettings(_Section, frozen=True):
    """Files with the gateway's certificate and its key, below the state directory unless absolute: both, or neither."""

    certificate: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS wants certificate and key")


class HttpSettings(_Section, frozen=True):
    """Which names the gateway goes by, and whose pages may change something: names of hosts, or whole origins."""

    hosts: tuple[str, ...] = LOOPBACK_NAMES
    origins: tuple[str, ...] = LOOPBACK_NAMES
    cors: CorsSettings = CorsSettings()
    tls: TlsSettings = TlsSettings()


class BreakerSettings(_Section, frozen=True):
    """When the gateway stops asking a dependency, and how soon it tries again."""

    failures: Count = 3
    open_for_s: Positive = 0.5
    max_open_for_s: Positive = 2.0
    probe_every_s: Positive = 0.5


class TurnSettings(_Section, frozen=True):
    """How long a turn waits for each dependency before it goes on without it."""

    memory_timeout_s: Positive = 0.5
    model_timeout_s: Positive = 2.0
    memory_max_tokens: Count = 512


class SessionSettings(_Section, frozen=True):
    """How long a session lives when its creator does not say, and at most."""

    ttl_s: Positive = 86_400.0
    max_ttl_s: Positive = 2_592_000.0


class ConfirmationSettings(_Section, frozen=True):
    """How long an action waits for a decision."""

    ttl_s: Positive = 300.0


class TaskSettings(_Section, frozen=True):
    """How many tasks are run at once, how often one is claimed before it is given up, and how many may wait to be run.

    The tools process takes eight calls at once; some of them are for whoever asks or approves meanwhile.
    """

    at_once: Annotated[int, msgspec.Meta(ge=1, le=6)] = 4
    max_claims: Count = 3
    max_waiting: Count = 1000


class QueueSettings(_Section, frozen=True):
    """`floor`: what waits here of that cost does not give way to what waits elsewhere; `at_once`: how much is served together."""

    floor: Annotated[int, msgspec.Meta(ge=0)] = 64
    at_once: Count = 16


class ToolQueueSettings(QueueSettings, frozen=True):
    """As QueueSettings; the tools process takes eight calls at once, of which tasks have four and approvals need some."""

    at_once: Annotated[int, msgspec.Meta(ge=1, le=6)] = 3


class AdmissionSettings(_Section, frozen=True):
    """What may wait to be served, together, in units of one piece of work and up to 4,096 characters; and for how long."""

    budget: Count = 512
    wait_s: Positive = 5.0
    stream: QueueSettings = QueueSettings()
    tool: ToolQueueSettings = ToolQueueSettings()
    model: QueueSettings = QueueSettings()

    def __post_init__(self) -> None:
        """Raises ValueError where the floors leave nothing of the budget to be shared out."""
        if self.stream.floor + self.tool.floor + self.model.floor > self.budget:
            raise ValueError("the floors of the queues exceed the budget")


class AuditSettings(_Section, frozen=True):
    """After how many audit rows the chain's head is written outside the database."""

    checkpoint_every: Count = 100


class Confinement(StrEnum):
    """Whether SONIA starts where the kernel cannot confine commands; what it can do, it does in either case."""

    REQUIRED = "required"
    NOT_REQUIRED = "not_required"


class ToolsSettings(_Section, frozen=True):
    """Where tools work, relative to the state directory, how long one may take, and how much.

    `max_processes` (threads counted) and `max_memory_bytes` are of one command with all that it starts;
    `max_workspace_bytes` (on disk) and `max_workspace_files` (names) of the workspace.
    """

    workspace: str = "workspace"
    timeout_s: Positive = 10.0
    confinement: Confinement = Confinement.REQUIRED
    max_processes: Count = 128
    max_memory_bytes: Count = 512 * 1024 * 1024
    max_workspace_bytes: Count = 256 * 1024 * 1024
    max_workspace_files: Count = 10_000


class OutboxSettings(_Section, frozen=True):
    """How long one delivery may take, and at most between two tries while the receiver answers and does not take it."""

    timeout_s: Positive = 5.0
    max_pause_s: Positive = 2.0


class RetentionSettings(_Section, frozen=True):
    """For how many days what is over is kept: keys of requests, what was delivered, sessions with their turns, dead letters,
    tasks with their runs and confirmations, and restarts of processes with the boots they were made in. Rows of the audit log are moved into its archive then.
    """

    idempotency_days: Positive = 1.0
    outbox_days: Positive = 7.0
    sessions_days: Positive = 90.0
    dead_letters_days: Positive = 90.0
    tasks_days: Positive = 90.0
    restarts_days: Positive = 90.0
    audit_days: Annotated[float, msgspec.Meta(ge=1)] = 365.0


class StorageSettings(_Section, frozen=True):
    """The single writer: how many operations share a commit and how many may wait."""

    busy_timeout_s: Annotated[float, msgspec.Meta(ge=5)] = 5.0
    batch_max: Annotated[int, msgspec.Meta(ge=1, le=64)] = 64
    queue_max: Count = 4096


class TraceSettings(_Section, frozen=True):
    """How soon traces of decisions are on disk, and how much of them is kept: `segments` files of `segment_bytes` each."""

    flush_every_s: Positive = 0.25
    segment_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 8 * 1024 * 1024
    segments: Annotated[int, msgspec.Meta(ge=2)] = 16


class SupervisorSettings(_Section, frozen=True):
    """How the other processes are watched and replaced: at most `attempts` restarts in `window_s`, each after a back-off
    that begins with `backoff_base_s` and doubles. One that answers nothing for `hang_after_s` hangs.
    """

    window_s: Positive = 300.0
    attempts: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
    backoff_base_s: Annotated[float, msgspec.Meta(ge=0.25)] = 2.0
    probe_every_s: Positive = 1.0
    hang_after_s: Positive = 10.0
    start_within_s: Positive = 60.0
    stop_within_s: Positive = 5.0


class Part(StrEnum):
    """What degrade mode can switch off: it is never a decision, the end of something, or a sign of life."""

    MEMORY = "memory"
    MODEL = "model"
    TASKS = "tasks"


class SloSettings(_Section, frozen=True):
    """What turns may take: `quantile` of them at most `threshold_ms`. Taken up by a running gateway, too.

    Degrade mode is entered when a short and a long window both hold enough turns and breach; it lasts for `min_dwell_s`, and
    until one canary each `canary_every_s` has been well below the threshold for `sustain_s`. `switches_off`: turns do
    without memory, are answered without the model, and no task is begun.
    """

    # Above what a turn waits for memory and model: of that breakers take care.
    threshold_ms: Positive = 3_000.0
    quantile: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    short_window_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 30
    long_window_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 300
    min_count: Count = 20
    long_min_count: Count = 100
    min_dwell_s: NonNegative = 60.0
    sustain_s: NonNegative = 30.0
    canary_every_s: Annotated[float, msgspec.Meta(ge=0.1)] = 1.0
    switches_off: tuple[Part, ...] = tuple(Part)

    def __post_init__(self) -> None:
        if self.short_window_s >= self.long_window_s:
            raise ValueError("short_window_s must be less than long_window_s")


class Settings(_Section, frozen=True):
    """The whole of `sonia.yaml`."""

    auth: AuthSettings = AuthSettings()
    http: HttpSettings = HttpSettings()
    breaker: BreakerSettings = BreakerSettings()
    turn: TurnSettings = TurnSettings()
    sessions: SessionSettings = SessionSettings()
    confirmations: ConfirmationSettings = ConfirmationSettings()
    tasks: TaskSettings = TaskSettings()
    admission: AdmissionSettings = AdmissionSettings()
    audit: AuditSettings = AuditSettings()
    tools: ToolsSettings = ToolsSettings()
    outbox: OutboxSettings = OutboxSettings()
    retention: RetentionSettings = RetentionSettings()
    storage: StorageSettings = StorageSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    slo: SloSettings = SloSettings()
    traces: TraceSettings = TraceSettings()


def load_settings(path: Path) -> Settings:
    """Read `path`; an empty file means all defaults, and one that is missing is not empty.

    Raises StartRefused naming the file and the place.
    """
    try:
        text = _read_regular(path).decode("utf-8")
        return Settings() if _NOTHING.fullmatch(text) else _read(text)
    except (OSError, ValueError, RecursionError) as wrong:
        raise StartRefused(f"{path.name}: {wrong}", "correct it, or restore it") from wrong


def _read_regular(path: Path) -> bytes:
    # Without O_NONBLOCK, a pipe in the file's place would hold the start for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no regular file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"it has more than {MOST_BYTES} bytes")
    return content


def _read(text: str) -> Settings:
    # Most files hold nothing but comments, and reading YAML takes as long to import as all else that a command needs.
    from service import yaml12  # noqa: PLC0415 - see above

    document = yaml12.load(text)
    return msgspec.convert({} if document is None else document, Settings)
