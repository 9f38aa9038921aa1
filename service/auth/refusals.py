"""Why a token is not accepted."""

from enum import StrEnum


class Refusal(StrEnum):
    """Why a token was not accepted. Callers are never told which; the audit log is."""

    ABSENT = "no_credentials"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - the name of a reason, not a secret
    REVOKED = "revoked"
    EXPIRED = "expired"
