"""The OpenAPI document lists what is really answered."""

import json

from service.gateway.app import HANDLERS, assemble
from service.http.description import document_of


def test_the_document_is_made_once_and_lists_refusals_as_problems() -> None:
    app = assemble(HANDLERS)
    assert document_of(app) is document_of(app)
    document = json.loads(document_of(app))
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    listed = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            refusals = {s: each for s, each in operation["responses"].items() if s >= "400"}
            listed[f"{method.upper()} {path}"] = set(map(int, refusals))
            for each in refusals.values():
                assert each["content"] == {"application/problem+json": problem}
    assert listed["GET /healthz"] == {400, 421, 431}
    assert listed["HEAD /tasks/{task_id}"] == {400, 401, 403, 404, 414, 421, 431}
    assert listed["POST /v1/turn"] == {400, 401, 403, 404, 409, 413, 415, 421, 422, 431, 503}
    assert listed["POST /v1/memory"] == listed["POST /v1/turn"] == listed["POST /approve"]
    assert 404 not in listed["POST /v1/sessions"]
    assert listed["PUT /v1/policies/{name}"] >= {412, 428}
    assert listed["POST /v1/tools/{name}/execute"] >= {403, 504}
    assert set(document["components"]["schemas"]["Problem"]["required"]) <= set(
        document["components"]["schemas"]["Problem"]["properties"]
    )
