"""What the gateway tells of itself, and how it answers what it does not have."""

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation


def test_diagnostics(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    talk.ask("health", "GET /healthz", who=None)
    talk.ask("readiness, alone", "GET /readyz", who=None)
    talk.ask("version", "GET /v1/version", who=None)
    talk.ask("storage", "GET /v1/storage", who=None)
    talk.ask("objective", "GET /v1/slo/status", who=None)
    talk.ask("queues", "GET /v1/queues", who=None)
    talk.ask("routes", "GET /v1/routes", who="observer")
    talk.ask("no such route", "GET /nowhere")
    talk.ask("no such method", "PUT /tasks")
    talk.ask("methods of a path", "OPTIONS /v1/sessions/x", who=None)
    talk.ask("head", "HEAD /healthz", who=None)
    talk.ask("no credentials", "GET /tasks", who=None)
    talk.ask("too low a role", "POST /tasks", {"kind": "note"}, who="observer")
    assert talk.said == snapshot


def test_metrics(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    """Metrics are counted from what was asked before."""
    talk.ask("refused", "GET /tasks", who=None)
    talk.ask("made", "POST /tasks", {"kind": "note"})
    talk.ask("wrong", "POST /tasks", {"kind": ""})
    names = [
        line if line.startswith("#") else line.split(" ")[0]
        for line in talk.ask("metrics", "GET /metrics", who=None).splitlines()
        if "_batches_" not in line or line.startswith("#")
    ]
    talk.told.pop()
    assert [talk.said, *names] == snapshot


def test_what_is_documented(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    """The paths and methods of the OpenAPI document, with what they answer."""
    document = talk.ask("openapi", "GET /v1/openapi.json", who="observer")
    answers = {
        f"{method.upper()} {path}": sorted(operation["responses"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert [document["openapi"], document["info"]["title"], answers] == snapshot
