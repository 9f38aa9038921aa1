"""`request`: one HTTP request, its intent recorded before its first byte is sent."""

import asyncio
import re

import msgspec

from chaos.engine.scope import Endpoint, ExpectationFailed, Scope, Sender
from chaos.engine.stack import HARNESS_SOURCE
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import NULL, as_json
from chaos.http import Answer, build_request, send_once
from chaos.spec.step import Send, Step

DEFAULT_WITHIN_MS = 10_000.0
_IN_BRACES = re.compile(r"\{([^{}]*)\}")


class Request(Step, frozen=True, kw_only=True):
    """`request: {get: /readyz}`, with `as`, `to` or `via`, `within`, `expect` and `capture`."""

    request: Send


class Exchange(msgspec.Struct, frozen=True):
    """One request and what came of it. `document` is the answer's body as JSON, or as text."""

    answer: Answer
    document: object

    def observed(self) -> dict[str, object]:
        """What an `expect` may speak of."""
        return {
            "status": self.answer.status,
            "headers": {name.lower(): value for name, value in self.answer.headers},
            "json": self.document,
            "text": self.answer.body.decode(errors="replace"),
            "outcome": self.answer.outcome,
        }


async def run(step: Request, scope: Scope) -> None:
    """Send it once; never retried, no redirect followed."""
    timeout_ms = step.within.ms if step.within is not None else DEFAULT_WITHIN_MS
    exchange = await exchange_once(step, step.request, scope, timeout_ms)
    problem = None if exchange.answer.outcome == "ok" else f"no answer: {exchange.answer.error}"
    if step.expect is None and problem is not None:
        # Without an expectation a missing answer is what was observed; assertions judge it.
        return
    expect = step.expect
    if expect is not None:
        try:
            scope.check(expect, exchange.observed())
        except ExpectationFailed as failure:
            raise ExpectationFailed(
                f"{failure} ({problem})" if problem else str(failure)
            ) from failure


async def exchange_once(step: Step, send: Send, scope: Scope, timeout_ms: float) -> Exchange:
    """Record the intent, send, capture, record the completion."""
    sender = scope.sender(send.as_ if send.as_ is not None else step.as_)
    endpoint = scope.endpoint(step)
    method, path, wire, body = prepare(send, scope, sender, endpoint)
    sent_ms = scope.clock.now_ms()
    seq = scope.recorder.add(
        schema.Request,
        step=scope.step_name(step),
        load=None,
        vars=as_json(scope.row_vars),
        actor=sender.label,
        role=sender.role,
        method=method,
        path=path,
        route=send.target()[1],
        link=endpoint.link,
        process=endpoint.process,
        intended_ms=sent_ms,
        sent_ms=sent_ms,
        request=body,
    )
    answer = await send_once(
        endpoint.host, endpoint.port, wire, source=HARNESS_SOURCE, timeout_s=timeout_ms / 1000
    )
    exchange = Exchange(answer, decode(answer.body))
    try:
        if answer.outcome == "ok":
            scope.capture(step, exchange.document)
    finally:
        scope.recorder.add(
            schema.Response,
            seq=seq,
            status=answer.status,
            outcome=answer.outcome,
            error=answer.error,
            done_ms=scope.clock.now_ms(),
            response=as_json(exchange.document) if answer.outcome == "ok" else NULL,
            headers=as_json({name.lower(): value for name, value in answer.headers}),
        )
    return exchange


def prepare(
    send: Send, scope: Scope, sender: Sender, endpoint: Endpoint
) -> tuple[str, str, bytes, msgspec.Raw]:
    """(method, path, bytes on the wire, JSON for the record) with all variables filled in."""
    method, path = (str(scope.variables.fill(part)) for part in send.target())
    if send.path_params is not None:
        path = fill_path(
            path, {key: scope.variables.text(value) for key, value in send.path_params.items()}
        )
    headers = dict(sender.headers)
    body, record = b"", NULL
    if send.json is not None:
        record = as_json(scope.variables.fill(send.json))
        body = bytes(record)
        headers["Content-Type"] = "application/json"
    elif send.body is not None:
        text = scope.variables.text(send.body)
        body, record = text.encode(), as_json(text)
    headers |= {key: scope.variables.text(value) for key, value in (send.headers or {}).items()}
    headers.setdefault("Connection", "close")
    host = f"{endpoint.host}:{endpoint.port}"
    return method.upper(), path, build_request(method.upper(), path, host, headers, body), record


def fill_path(path: str, params: dict[str, str]) -> str:
    """`path` with `{name}` (or `{name:type}`) replaced; `*` stands for every name that is not listed."""

    def value(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        if name not in params and "*" not in params:
            raise HarnessError(f"no path parameter {name!r} for {path}")
        return params.get(name, params.get("*", ""))

    return _IN_BRACES.sub(value, path)


def decode(body: bytes) -> object:
    """The body as JSON where it is JSON, as text otherwise; None when there is none."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")


async def poll(step: Step, send: Send, scope: Scope, within_ms: float, every_ms: float) -> None:
    """Send again and again until the expectation holds; ExpectationFailed with the last mismatch."""
    deadline_ms = scope.clock.now_ms() + within_ms
    while True:
        left_ms = max(50.0, deadline_ms - scope.clock.now_ms())
        exchange = await exchange_once(step, send, scope, min(left_ms, 2000.0))
        try:
            scope.check(step.expect, exchange.observed())
        except ExpectationFailed as failure:
            if scope.clock.now_ms() > deadline_ms:
                raise ExpectationFailed(f"not within {within_ms:g} ms: {failure}") from failure
        else:
            return
        await asyncio.sleep(every_ms / 1000)
