"""What clients of an earlier release rely on, and what a live API breaks of it.

A contract lists operations ("POST /v1/turn") with what clients send and what they read back. Shapes are written in
JSON itself: a text names the JSON types that may stand there ("string", "integer|null", "any"; "=approve|=deny" are
fixed words), an object names fields, a list of one shape stands for an array of it.

Compatibility follows the usual rule (Postel; RFC 9413 has the caveats): a server may accept more and must not demand
more; it may answer more and must not leave out or change what is read.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from service.errors import SoniaError

ANY = "any"
_CONTENT = "application/json"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients send: the fields they always send, and those they may send; each with its shape."""

    required: dict[str, object] = {}
    optional: dict[str, object] = {}


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operation: query parameters and body that clients send, and for each status the shape they read."""

    query: Request = Request()
    request: Request = Request()
    responses: dict[str, object] = {}


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A released public API. Operations are keyed by "METHOD /path"; WebSockets by path."""

    contract: str
    operations: dict[str, Operation]
    websockets: list[str] = []


class ContractUnreadable(SoniaError):
    """The contract file is not a contract."""


def load_contract(path: Path) -> Contract:
    """Read a contract. Raises ContractUnreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Contract)
    except (OSError, msgspec.DecodeError) as error:
        raise ContractUnreadable(f"{path}: {error}") from error


def breaking_changes(
    contract: Contract, openapi: Mapping[str, object], routes: Collection[str]
) -> list[str]:
    """Every way in which a live API breaks `contract`, one sentence each; empty when it keeps it. Pure.

    `openapi`: the live OpenAPI document (3.1). `routes`: what the live application routes, as "METHOD /path", with
    WEBSOCKET as the method of sockets; an operation must be in both.
    """
    live = _Live(openapi)
    routed = {_anonymous(each) for each in routes}
    found: list[str] = []
    for name, operation in contract.operations.items():
        described = live.operation(name)
        if described is None or _anonymous(name) not in routed:
            found.append(f"{name}: the operation is gone")
        else:
            found += [f"{name}: {each}" for each in _compare(live, operation, described)]
    for path in contract.websockets:
        if _anonymous(f"WEBSOCKET {path}") not in routed:
            found.append(f"WEBSOCKET {path}: the socket is gone")
    return found


class _Live:
    """An OpenAPI document and its references."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._schemas = _object(_object(document.get("components")).get("schemas"))
        self._operations = {
            _anonymous(f"{method.upper()} {path}"): _object(operation)
            for path, operations in _object(document.get("paths")).items()
            for method, operation in _object(operations).items()
        }

    def operation(self, name: str) -> Mapping[str, object] | None:
        """The described operation of this name, whatever its path parameters are called."""
        return self._operations.get(_anonymous(name))

    def alternatives(self, schema: object) -> list[Mapping[str, object]]:
        """The schemas, without references, of which `schema` admits each."""
        resolved = _object(schema)
        if reference := resolved.get("$ref"):
            return self.alternatives(self._schemas.get(str(reference).rpartition("/")[2]))
        for word in ("oneOf", "anyOf"):
            if word in resolved:
                return [one for each in _list(resolved[word]) for one in self.alternatives(each)]
        if isinstance(kinds := resolved.get("type"), list):
            return [{**resolved, "type": kind} for kind in kinds]
        return [resolved]


def _compare(live: _Live, operation: Operation, described: Mapping[str, object]) -> Iterator[str]:
    parameters = {
        str(each["name"]): each
        for each in map(_object, _list(described.get("parameters")))
        if each.get("in") == "query"
    }
    demanded = {name for name, each in parameters.items() if each.get("required")}
    schemas = {name: each.get("schema") for name, each in parameters.items()}
    yield from _sent(live, "query", operation.query, schemas, demanded)
    body = _schema_of(_object(described.get("requestBody")))
    fields, demanded = _fields(live, body)
    yield from _sent(live, "request", operation.request, fields, demanded)
    answers = _object(described.get("responses"))
    for status, shape in operation.responses.items():
        if status not in answers:
            yield f"it never answers {status} any more"
        elif shape is not None:
            yield from _read(live, status, shape, _schema_of(_object(answers[status])))


def _sent(
    live: _Live, where: str, sent: Request, fields: Mapping[str, object], demanded: set[str]
) -> Iterator[str]:
    """What goes wrong with what clients send."""
    for name in sorted(demanded - sent.required.keys()):
        yield f"{where}.{name} is demanded now"
    for name, shape in (sent.required | sent.optional).items():
        if name not in fields:
            yield f"{where}.{name} is ignored now"
            continue
        accepted = live.alternatives(fields[name])
        for word in _words(shape):
            if not any(_accepts(schema, word) for schema in accepted):
                yield f"{where}.{name} does not accept {word} any more"


def _read(live: _Live, place: str, shape: object, schema: object) -> Iterator[str]:
    """What goes wrong with what clients read at `place`."""
    if isinstance(shape, Mapping):
        yield from _read_object(live, place, shape, schema)
    elif isinstance(shape, list):
        yield from _read_array(live, place, shape[0], schema)
    elif shape != ANY:
        words = _words(shape)
        for each in live.alternatives(schema):
            if not _promised(each, words):
                yield f"{place} may be {each.get('type', 'anything')} now, not only {shape}"


def _read_object(
    live: _Live, place: str, shape: Mapping[str, object], schema: object
) -> Iterator[str]:
    fields, _ = _fields(live, schema)
    for name, below in shape.items():
        if name in fields:
            yield from _read(live, f"{place}.{name}", below, fields[name])
        else:
            yield f"{place}.{name} is gone"


def _read_array(live: _Live, place: str, shape: object, schema: object) -> Iterator[str]:
    alternatives = live.alternatives(schema)
    if any(each.get("type") != "array" for each in alternatives):
        yield f"{place} is not always an array any more"
    for each in alternatives:
        yield from _read(live, f"{place}[]", shape, each.get("items"))


def _accepts(schema: Mapping[str, object], word: str) -> bool:
    """Whether a value that `word` describes passes `schema`."""
    kind, values = schema.get("type"), schema.get("enum")
    if kind is None and values is None:
        return True
    if word.startswith("="):
        return word[1:] in _list(values) if values is not None else kind == "string"
    return values is None and (kind == word or (kind == "number" and word == "integer"))


def _promised(schema: Mapping[str, object], words: Collection[str]) -> bool:
    """Whether every value of `schema` is one that clients expect by `words`."""
    kind = schema.get("type")
    if kind in words or (kind == "integer" and "number" in words):
        return True
    values = schema.get("enum")
    return values is not None and all(f"={each}" in words for each in _list(values))


def _fields(live: _Live, schema: object) -> tuple[dict[str, object], set[str]]:
    """The fields that objects of `schema` may have, and those they must have."""
    fields: dict[str, object] = {}
    demanded: set[str] = set()
    for each in live.alternatives(schema):
        fields.update(_object(each.get("properties")))
        demanded.update(str(name) for name in _list(each.get("required")))
    return fields, demanded


def _schema_of(described: Mapping[str, object]) -> object:
    return _object(_object(described.get("content")).get(_CONTENT)).get("schema")


def _words(shape: object) -> list[str]:
    if isinstance(shape, str):
        return shape.split("|")
    return ["array" if isinstance(shape, list) else "object"]


def _anonymous(name: str) -> str:
    """The name of an operation with its path parameters unnamed: clients fill them in by place."""
    parts = ("{}" if part.startswith("{") else part for part in name.split("/"))
    return "/".join(parts)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
