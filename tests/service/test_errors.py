"""What each error answers: its status and title are public, and its code is what programs compare."""

import service.domain.tools.routes
import service.http.idempotency
import service.model.process
import service.tools.process  # noqa: F401 - these define errors of their own
from service.errors import EXIT_REFUSED, Invalid, ProblemError, Unavailable

ANSWERS = {
    "Invalid": (400, "Bad request", "invalid_request"),
    "UnsupportedMediaType": (415, "Unsupported media type", "unsupported_media_type"),
    "Forbidden": (403, "Forbidden", "forbidden"),
    "NotFound": (404, "Not found", "not_found"),
    "Conflict": (409, "Conflict", "conflict"),
    "PreconditionFailed": (412, "Precondition failed", "version_mismatch"),
    "BodyTooLarge": (413, "Content too large", "too_large"),
    "Unprocessable": (422, "Unprocessable content", "unprocessable"),
    "PreconditionRequired": (428, "Precondition required", "if_match_required"),
    "Busy": (429, "Too many requests", "tools_busy"),
    "ProviderFailed": (502, "Bad gateway", "provider_failed"),
    "Unavailable": (503, "Service unavailable", "unavailable"),
    "OutcomeUnknown": (503, "Outcome unknown", "outcome_unknown"),
}


def test_every_error_answers_as_it_did() -> None:
    found = {
        kind.__name__: (kind.status, kind.title, kind.default_code)
        for kind in ProblemError.__subclasses__()
    }
    assert found == ANSWERS


def test_a_code_may_be_said_and_only_what_passes_may_be_tried_again() -> None:
    assert Invalid("detail").code == "invalid_request"
    assert Invalid("detail", "other").code == "other"
    assert Invalid("detail").retry_after_ms is None
    assert Unavailable("detail").retry_after_ms == 1000
    assert str(Unavailable("detail", "code", 5)) == "detail"


def test_a_refused_start_exits_as_systemd_expects() -> None:
    assert EXIT_REFUSED == 78
