"""`request`: one HTTP request, its intent recorded before its first byte is sent."""

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from chaos.answers import CUT_SHORT, body_column, document, headers_by_name, headers_column
from chaos.engine.doubts import Doubts
from chaos.engine.scope import ExpectationFailed, Scope
from chaos.engine.stack import HARNESS_SOURCE
from chaos.engine.wire import prepare
from chaos.evidence import schema
from chaos.evidence.recorder import NULL, as_json
from chaos.http import Answer, send_once
from chaos.spec.kind import Kind
from chaos.spec.step import Send, Step

DEFAULT_WITHIN_MS: Final = 10_000.0
LONGEST_TRY_MS: Final = 2_000.0
SHORTEST_TRY_MS: Final = 50.0
ANSWER: Final = frozenset({"status", "headers", "json", "text", "outcome"})
"""What an `expect` may speak of where a request is answered."""


class Request(Step, frozen=True, kw_only=True):
    """`request: {get: /readyz}`, with `as`, `to` or `via`, `within`, `expect` and `capture`.

    It is sent once: never again, and no redirect is followed. Without an `expect`, whatever comes of it is
    only recorded.
    """

    request: Send


class Exchange(msgspec.Struct, frozen=True):
    """One request and what came of it. `document` is the answer's body as JSON, or as text.

    `missing` says what was to be captured and was not there.
    """

    answer: Answer
    document: object
    missing: str | None

    def observed(self) -> dict[str, object]:
        """What an `expect` may speak of."""
        return {
            "status": self.answer.status,
            "headers": headers_by_name(self.answer.headers),
            "json": self.document,
            "text": self.answer.body.decode(errors="replace"),
            "outcome": self.answer.outcome,
        }

    def problems(self, step: Step, scope: Scope) -> Iterator[str]:
        """Everything in which it is not what the step expects, and why."""
        found = list(scope.unexpected(step.expect, self.observed()))
        yield from found
        if self.answer.outcome == "ok" and self.missing is not None:
            yield self.missing
            found.append(self.missing)
        if found and self.answer.error is not None:
            about = "the answer" if self.answer.outcome == "ok" else "no answer"
            yield f"{about}: {self.answer.error}"


async def run(step: Request, scope: Scope) -> None:
    """Send it and compare the answer with what is expected."""
    timeout_ms = step.within.ms if step.within is not None else DEFAULT_WITHIN_MS
    exchange = await exchange_once(step, step.request, scope, timeout_ms)
    problems = list(exchange.problems(step, scope))
    if problems:
        raise ExpectationFailed("; ".join(problems))


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
    doubts = Doubts(scope, endpoint)
    answer = await send_once(
        endpoint.host, endpoint.port, wire, source=HARNESS_SOURCE, timeout_s=timeout_ms / 1000
    )
    done_ms = scope.clock.now_ms()
    if answer.close_framed and doubts.any():
        answer = replace(answer, status=None, outcome="info", error=CUT_SHORT)
    read = document(answer.body)
    # A captured secret must be known before the answer that holds it is written.
    missing = scope.capture(step, read) if answer.outcome == "ok" else None
    scope.recorder.add(
        schema.Response,
        seq=seq,
        status=answer.status,
        outcome=answer.outcome,
        error=answer.error,
        done_ms=done_ms,
        response=msgspec.Raw(body_column(answer.body)) if answer.outcome == "ok" else NULL,
        headers=msgspec.Raw(headers_column(answer.headers)),
        close_framed=answer.close_framed,
    )
    return Exchange(answer, read, missing)


async def poll(step: Step, send: Send, scope: Scope, within_ms: float, every_ms: float) -> None:
    """Send again and again until the expectation holds; ExpectationFailed with the last mismatch that was answered."""
    deadline_ms = scope.clock.now_ms() + within_ms
    told: list[str] = []
    while True:
        left_ms = max(SHORTEST_TRY_MS, deadline_ms - scope.clock.now_ms())
        exchange = await exchange_once(step, send, scope, min(left_ms, LONGEST_TRY_MS))
        problems = list(exchange.problems(step, scope))
        if not problems:
            return
        # The last try may be cut off by the deadline, which says nothing about the system.
        told = problems if exchange.answer.outcome == "ok" or not told else told
        if scope.clock.now_ms() > deadline_ms:
            raise ExpectationFailed(f"not within {within_ms:g} ms: {'; '.join(told)}")
        await asyncio.sleep(every_ms / 1000)


KIND = Kind(
    "request",
    Request,
    run,
    observes=ANSWER,
    captures=True,
    sends=True,
    only_reads=True,
    records={"requests.step": "name"},
)
