"""The OpenAPI document: what Litestar knows of the handlers, and every refusal that they can be answered with."""

import functools
from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from service.http.guards import EVERYBODY, REQUIRED
from service.http.problems import MEDIA_TYPE
from service.http.sockets import SAFE_METHODS

_MEANINGS: Final = {
    400: "The request cannot be understood.",
    401: "Credentials are missing, or do not hold.",
    403: "The caller's role, a policy, or the origin of the page does not allow it.",
    404: "There is no such thing.",
    409: "The thing, or the request with the same Idempotency-Key, is in a state that does not allow it.",
    412: "If-Match names a version that is not the current one.",
    413: "The body is too long.",
    414: "The path is too long.",
    415: "The body is not said to be JSON.",
    421: "The Host is none of the gateway's names.",
    422: "The request contradicts itself, or an earlier one with the same Idempotency-Key.",
    428: "If-Match is missing.",
    431: "The head is too long, or has too many headers.",
    503: "It cannot be done now.",
    504: "It may have been done.",
}

# What no rule below says: refusals for what a body, or the state, holds.
_FURTHER: Final[Mapping[str, tuple[int, ...]]] = {
    "POST /tools/{name}/execute": (504,),
    "PUT /policies/{name}": (412, 428),
    "GET /memory": (503,),
    "GET /storage": (503,),
}

_TEXT: Final = {"type": "string"}
_PROBLEM: Final[Mapping[str, object]] = {
    "type": "object",
    "title": "Problem",
    "description": "The body of every error (RFC 9457).",
    "properties": {
        "status": {"type": "integer"},
        **dict.fromkeys(("title", "code", "detail", "request_id", "type"), _TEXT),
        "retry_after_ms": {"type": "integer"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["status", "title", "code", "detail", "request_id"],
}


@functools.lru_cache(1)
def document_of(app: Litestar) -> bytes:
    """The document of `app` as JSON. It takes a tenth of a second to make and is asked for by whoever may look."""
    document = app.openapi_schema.to_schema()
    components = cast("dict[str, dict[str, object]]", document["components"])
    components["schemas"]["Problem"] = _PROBLEM
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operation, method, path, handler in _operations(app, document):
        role = str(handler.opt[REQUIRED])
        body = handler.parsed_fn_signature.parameters.get("data")
        if body is not None and body.has_default:
            cast("dict[str, object]", operation["requestBody"])["required"] = False
        answers = cast("dict[str, object]", operation["responses"])
        answers.pop("400", None)
        refusals = _refusals(method, path, role)
        if body is not None and _names_others(body.annotation):
            refusals.add(404)
        for status in sorted(refusals):
            answers[str(status)] = {"description": _MEANINGS[status], "content": content}
    return msgspec.json.encode(document)


def _operations(
    app: Litestar, document: Mapping[str, object]
) -> Iterator[tuple[dict[str, object], str, str, HTTPRouteHandler]]:
    """Every operation that the document describes, with its method, its path and its handler."""
    paths = cast("dict[str, dict[str, dict[str, object]]]", document["paths"])
    for each in app.routes:
        if isinstance(each, HTTPRoute):
            for method, (handler, _) in each.route_handler_map.items():
                operation = paths.get(each.path_format, {}).get(method.lower())
                if operation is not None:
                    yield operation, method, each.path_format, handler


def _names_others(body: object) -> bool:
    """Whether a body says of which session, or of which other thing it speaks."""
    return (
        isinstance(body, type)
        and issubclass(body, msgspec.Struct)
        and any(name.endswith("_id") for name in body.__struct_fields__)
    )


def _refusals(method: str, path: str, role: str) -> set[int]:
    statuses = {400, 421, 431}
    if role != EVERYBODY:
        statuses |= {401, 403}
    if "{" in path:
        statuses |= {404, 414}
    if method not in SAFE_METHODS:
        statuses |= {403, 409, 413, 415, 503}
    if method == "POST":
        statuses.add(422)
    read_as = "GET" if method == "HEAD" else method
    return statuses | set(_FURTHER.get(f"{read_as} {path.removeprefix('/v1')}", ()))
