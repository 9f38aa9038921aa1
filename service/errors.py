"""Every error SONIA raises on purpose, and what each becomes over HTTP or at the exit.

SoniaError
├── StartRefused              exit 78, nothing was bound; says what to do
│   ├── DatabaseLost          78 of a command; the gateway serves degraded
│   └── InUse                 78 of a second gateway; 1 of a command, which would have to wait
├── StateDamaged              78 at start, otherwise what a verification says
└── ProblemError              an answer (RFC 9457)
    ├── Invalid               400
    ├── Forbidden             403
    ├── NotFound              404
    ├── Conflict              409
    ├── PreconditionFailed    412
    ├── Unprocessable         422
    ├── PreconditionRequired  428
    ├── Unavailable           503, with Retry-After: certainly nothing was changed
    └── OutcomeUnknown        503: it may have happened, and is not tried again
"""

from typing import ClassVar, Final

EXIT_REFUSED: Final = 78


class SoniaError(Exception):
    """Base of all errors that carry a message meant for a person."""


class StartRefused(SoniaError):
    """A start-up check failed: the process exits with 78 and never listens. `remedy` says what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")


class DatabaseLost(StartRefused):
    """The control database is damaged or gone: nobody can be authenticated, and nothing else is known to be wrong."""


class InUse(StartRefused):
    """A gateway runs on the state directory: nothing is wrong with it."""


class StateDamaged(SoniaError):
    """Stored state contradicts itself and must not be used."""


RESTORE: Final = "restore the state directory from a backup"
KEEP_AND_RESTORE: Final = f"keep a copy as it is, then {RESTORE}"
"""What is to be done about damaged state."""
LOOK_AT_DISK: Final = "look at the disk's space and whether it can be written, then start again"
"""What is to be done where nothing is wrong with the state, but with what it lies on."""
AS_OWNER: Final = "run as the owner of the state directory"
REPLACE: Final = "`sonia restore BACKUP` puts a backup in its place"
"""What is to be done about a damaged control database."""


def of_disk(wrong: Exception) -> str:
    """What is to be done where the system refuses to open or to write."""
    return AS_OWNER if isinstance(wrong, PermissionError) else LOOK_AT_DISK


class ProblemError(SoniaError):
    """An error that answers a request.

    `code` is stable and meant for programs, `detail` is meant for people.
    """

    status: ClassVar[int]
    title: ClassVar[str]
    default_code: ClassVar[str]

    def __init__(
        self, detail: str, code: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.retry_after_ms = retry_after_ms


class Invalid(ProblemError):
    """The request cannot be understood."""

    status = 400
    title = "Bad request"
    default_code = "invalid_request"


class Forbidden(ProblemError):
    """The caller is known and may not do this."""

    status = 403
    title = "Forbidden"
    default_code = "forbidden"


class NotFound(ProblemError):
    """No such thing."""

    status = 404
    title = "Not found"
    default_code = "not_found"


class Conflict(ProblemError):
    """The thing is in a state that does not allow this."""

    status = 409
    title = "Conflict"
    default_code = "conflict"


class PreconditionFailed(ProblemError):
    """If-Match names a version that is not the current one."""

    status = 412
    title = "Precondition failed"
    default_code = "version_mismatch"


class Unprocessable(ProblemError):
    """The request is well formed and contradicts an earlier one."""

    status = 422
    title = "Unprocessable content"
    default_code = "unprocessable"


class PreconditionRequired(ProblemError):
    """If-Match is missing."""

    status = 428
    title = "Precondition required"
    default_code = "if_match_required"


class Unavailable(ProblemError):
    """SONIA cannot do this now; nothing was changed; try again later."""

    status = 503
    title = "Service unavailable"
    default_code = "unavailable"

    def __init__(
        self, detail: str, code: str | None = None, retry_after_ms: int | None = 1000
    ) -> None:
        super().__init__(detail, code, retry_after_ms)


class OutcomeUnknown(ProblemError):
    """What was asked for may have happened or not. Whoever asked looks before asking again."""

    status = 503
    title = "Outcome unknown"
    default_code = "outcome_unknown"
