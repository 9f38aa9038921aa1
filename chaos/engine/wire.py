"""From a request as it is written in a spec to bytes on the wire."""

import re
from collections.abc import Mapping

import msgspec

from chaos.engine.scope import Endpoint, Scope, Sender
from chaos.errors import HarnessError
from chaos.evidence.recorder import NULL, as_json
from chaos.http import build_request
from chaos.spec.step import Send

_IN_BRACES = re.compile(r"\{([^{}]*)\}")


def prepare(
    send: Send, scope: Scope, sender: Sender, endpoint: Endpoint
) -> tuple[str, str, bytes, msgspec.Raw]:
    """(method, path, bytes on the wire, JSON for the record) with all variables filled in."""
    verb, written = send.target()
    method, path = scope.variables.text(verb).upper(), scope.variables.text(written)
    if send.path_params is not None:
        path = fill_path(path, scope.variables.texts(send.path_params))
    body, record = b"", NULL
    defaults = {"Connection": "close"}
    if send.json is not None:
        record = as_json(scope.variables.fill(send.json))
        body = bytes(record)
        defaults["Content-Type"] = "application/json"
    elif send.body is not None:
        text = scope.variables.text(send.body)
        body, record = text.encode(), as_json(text)
    own = scope.variables.texts(send.headers or {})
    headers = merge_headers(defaults, sender.headers, own)
    host = f"{endpoint.host}:{endpoint.port}"
    return method, path, build_request(method, path, host, headers, body), record


def merge_headers(*layers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers of all layers; a later one replaces an earlier one of the same name, however spelt."""
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        merged |= {name.lower(): (name, value) for name, value in layer.items()}
    return list(merged.values())


def fill_path(path: str, params: Mapping[str, str]) -> str:
    """`path` with `{name}` (or `{name:type}`) replaced; `*` stands for every name that is not listed."""

    def value(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        if name not in params and "*" not in params:
            raise HarnessError(f"no path parameter {name!r} for {path}")
        return params.get(name, params.get("*", ""))

    return _IN_BRACES.sub(value, path)
