"""A conversation with running processes: each question has a name, and all answers together are a snapshot."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import msgspec
import pytest

from service.cli import main
from tests.service.conformance.normal import Normal
from tests.service.running import Answer, Gateway, State, exchange, exchange_signed, rows, until

# These differ with each answer, or are said by the body as well.
_LEFT_OUT = frozenset({"date", "content-length", "x-request-id", "connection", "retry-after"})


class Conversation:
    """Asks by name and keeps what was answered, in order, in `told`, a line each.

    `who` is operator, observer, service (who signs), a token, or None for nobody.
    """

    def __init__(self, state: State, ports: Mapping[str, int]) -> None:
        self.state = state
        self.told: list[str] = []
        self.normal = Normal(state.directory.root)
        self.ports = ports

    def ask(
        self,
        name: str,
        line: str,
        body: object = None,
        *,
        who: str | None = "operator",
        to: str = "gateway",
        headers: Mapping[str, str] | None = None,
        sort: str | None = None,
    ) -> Any:
        """Send `POST /path`; returns the decoded answer. Bytes are sent as they are, all else as JSON.

        `sort` orders the items of a list by a field, where their own order hangs on random ids.
        """
        answer = self._send(line, body, who, to, headers or {})
        document = _decoded(answer)
        if sort is not None:
            document["items"].sort(key=lambda item: item[sort])
        said = {key: value for key, value in answer.headers.items() if key not in _LEFT_OUT}
        if "allow" in said:
            said["allow"] = ", ".join(sorted(said["allow"].split(", ")))
        label = headers.get("X-Request-Id") if headers else None
        if label is not None:
            kept = answer.headers["x-request-id"] == label
            said["x-request-id"] = label if kept else "<its own>"
        elif isinstance(document, dict) and "request_id" in document:
            same = document["request_id"] == answer.headers["x-request-id"]
            said |= {} if same else {"x-request-id": "<another>"}
        if said.get("content-type") in ("application/json", "application/problem+json"):
            del said["content-type"]
        self._keep(f"{name}: {answer.status}", said, document)
        return document

    def stored(self, statement: str) -> None:
        """Keep rows of the control database, with what no answer shows."""
        self.told.append(self.normal.text(statement))
        for row in rows(self.state, statement):
            shown = [self.normal.value(_shown(value), "at_ms") for value in row]
            self.told.append("    " + _line(shown))

    def await_denied(self, count: int) -> None:
        """Wait until so many refusals are in the log: they are written after they were answered."""
        denied = "SELECT count(*) FROM audit WHERE action = 'auth.denied'"
        until(lambda: rows(self.state, denied) == [(count,)])

    def sonia(self, name: str, *arguments: str, state: bool = True) -> int:
        """Run a command in this process; keeps its exit code and its words."""
        place = ("--state", str(self.state.directory.root)) if state else ()
        exit_code, output, errors = command(*arguments, *place)
        said = " ".join((output + " " + errors).split())
        self.told.append(f"{name}: exit {exit_code}: {self.normal.text(said)}")
        return exit_code

    def _keep(self, asked: str, headers: Mapping[str, str], document: object) -> None:
        named = [f"{name}: {self.normal.text(value)}" for name, value in sorted(headers.items())]
        body = [] if document is None else [_line(self.normal.value(document))]
        self.told.append(" ".join([asked, *named, *body]))

    def _send(
        self, line: str, body: object, who: str | None, to: str, headers: Mapping[str, str]
    ) -> Answer:
        method, path = line.split(" ", 1)
        sent = dict(headers)
        if who not in (None, "service"):
            token = {
                "operator": self.state.operator,
                "observer": self.state.observer,
            }.get(who, who)
            sent["Authorization"] = f"Bearer {token}"
        payload = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        if payload is not None:
            sent.setdefault("Content-Type", "application/json")
        if who == "service":
            signer = self.state.signer(to)
            return exchange_signed(signer, self.ports[to], method, path, payload, sent)
        return exchange(self.ports[to], method, path, payload, sent)

    @property
    def said(self) -> str:
        """All answers, one a line."""
        return "\n".join(self.told)


def with_gateway(gateway: Gateway) -> Conversation:
    """A conversation with a gateway that stands alone."""
    return Conversation(gateway.state, {"gateway": gateway.port})


def command(*arguments: str) -> tuple[int, str, str]:
    """Run `sonia` in this process: exit code, output, errors."""
    output, errors = StringIO(), StringIO()
    with _own_mask(), redirect_stdout(output), redirect_stderr(errors):
        try:
            exit_code = main(arguments)
        except SystemExit as end:
            exit_code = int(end.code or 0)
    return exit_code, output.getvalue(), errors.getvalue()


@contextmanager
def _own_mask() -> Iterator[None]:
    """A command sets the process's umask; this process gets its own back."""
    mask = os.umask(0o022)
    os.umask(mask)
    with pytest.MonkeyPatch.context() as patch:
        # The parser breaks its lines where the terminal ends.
        patch.setenv("COLUMNS", "10000")
        try:
            yield
        finally:
            os.umask(mask)


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _decoded(answer: Answer) -> Any:
    if not answer.body:
        return None
    try:
        return json.loads(answer.body)
    except ValueError:
        return answer.body.decode()


def _shown(value: object) -> object:
    """JSON in a column is shown as what it says."""
    if not isinstance(value, str | bytes) or value[:1] not in ("{", "[", b"{", b"["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
