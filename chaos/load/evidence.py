"""Writes the evidence of a load: lines of two tables, in batches."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chaos.errors import RecordingError
from chaos.load.plan import Plan

FLUSH_AT_LINES: Final = 256


class Evidence:
    """`requests.<load>.jsonl` and `responses.<load>.jsonl` in the directory of the run.

    Intents are with the kernel when `intend` returns, before any of their bytes is sent. Completions wait
    for company, at most until the next `flush`: one that is lost leaves a request that may have happened.
    """

    def __init__(self, plan: Plan) -> None:
        self._requests = _open(plan, "requests")
        self._responses = _open(plan, "responses")
        self._lines: list[bytes] = []

    def intend(self, lines: Sequence[bytes]) -> None:
        """Record requests that are about to be sent. RecordingError when that cannot be done."""
        _write(self._requests, b"".join(lines))

    def complete(self, line: bytes) -> None:
        """Record soon what became of a request."""
        self._lines.append(line)
        if len(self._lines) >= FLUSH_AT_LINES:
            self.flush()

    def flush(self) -> None:
        """Record what is waiting. RecordingError when that cannot be done."""
        lines, self._lines = self._lines, []
        _write(self._responses, b"".join(lines))

    def close(self) -> None:
        """Close both files; `flush` first."""
        os.close(self._requests)
        os.close(self._responses)


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
