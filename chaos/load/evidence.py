"""Writes the evidence of a load: lines of two tables, in batches."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from chaos.errors import RecordingError
from chaos.evidence.redaction import Redactor
from chaos.evidence.schema import Secret
from chaos.evidence.sightings import sightings
from chaos.load.plan import Plan

FLUSH_AT_LINES: Final = 256


class Evidence:
    """`requests.<load>.jsonl`, `responses.<load>.jsonl` and `secrets.<load>.jsonl` in the directory of the run.

    Intents are with the kernel when `intend` returns, before any of their bytes is sent. Completions wait
    for company, at most until the next `flush`: one that is lost leaves a request that may have happened.
    """

    def __init__(self, plan: Plan) -> None:
        self._requests = _open(plan, "requests")
        self._responses = _open(plan, "responses")
        self._secrets = _open(plan, "secrets")
        self._lines: list[bytes] = []
        self._seen: list[bytes] = []
        self._plan = plan
        self._next_secret = plan.first_secret_seq
        self.redactor = Redactor(plan.secrets, plan.patterns)

    def intend(self, lines: Sequence[bytes]) -> None:
        """Record requests that are about to be sent. RecordingError when that cannot be done."""
        _write(self._requests, b"".join(lines))

    def complete(self, line: bytes) -> None:
        """Record soon what became of a request, without the secrets in it."""
        redacted = self.redactor.redact_line(line)
        if redacted != line:
            self._see(line)
        self._lines.append(redacted + b"\n")
        if len(self._lines) >= FLUSH_AT_LINES:
            self.flush()

    def flush(self) -> None:
        """Record what is waiting. RecordingError when that cannot be done."""
        lines, self._lines = self._lines, []
        _write(self._responses, b"".join(lines))
        seen, self._seen = self._seen, []
        _write(self._secrets, b"".join(seen))

    def close(self) -> None:
        """Close all files; `flush` first."""
        os.close(self._requests)
        os.close(self._responses)
        os.close(self._secrets)

    def _see(self, line: bytes) -> None:
        for columns in sightings("responses", line, self.redactor):
            ids = {"run_id": self._plan.run_id, "gate": self._plan.gate, "seq": self._next_secret}
            self._seen.append(msgspec.json.encode(msgspec.convert(ids | columns, Secret)) + b"\n")
            self._next_secret += 1


def _open(plan: Plan, table: str) -> int:
    path = Path(plan.directory) / f"{table}.{plan.load}.jsonl"
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            written = os.write(descriptor, data)
        except OSError as error:
            raise RecordingError(f"cannot record the load: {error.strerror}") from error
        data = data[written:]
