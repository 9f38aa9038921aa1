"""Writes evidence: one append-only file of JSON lines per table, closed by a record of what was written."""

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from chaos import regular
from chaos.errors import RecordingError
from chaos.evidence.redaction import Redactor
from chaos.evidence.schema import COLLECTED_PREFIX, TABLES, Closing, Row, Secret
from chaos.evidence.sightings import sightings

_TABLE_OF = {struct: table for table, struct in TABLES.items()}
_encode = msgspec.json.Encoder().encode
NULL = msgspec.Raw(b"null")


def as_json(value: object) -> msgspec.Raw:
    """`value` as a JSON column."""
    return msgspec.Raw(_encode(value))


class Recorder:
    """The evidence of one run of one gate, below `directory`.

    A line is handed to the kernel before `add` returns, so it outlives the death of this process.
    `secrets` (texts with their names) and `patterns` (regular expressions) never reach a file; where the target let
    one out is a row of `secrets`. Every method that writes raises RecordingError when the line could not be written
    whole; it is then not in the file at all.
    """

    def __init__(self, directory: Path, run_id: str, gate: str, patterns: list[str]) -> None:
        self.directory = directory
        self.run_id = run_id
        self.gate = gate
        self.patterns = patterns
        self._redactor = Redactor({}, patterns)
        self._files: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._closed = False
        # Whether there is a secret that was none when the first line was written.
        self._learnt = False
        # Looks at databases are recorded from a thread of their own.
        self._lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(f"cannot record in {directory}: {error.strerror}") from error

    def add(self, struct: type[Row], **columns: object) -> int:
        """Append one row; `run_id`, `gate` and `seq` are filled in. Returns its seq."""
        row = self._row(struct, columns)
        self._write(_TABLE_OF[struct], _encode(row))
        return row.seq

    def _row(self, struct: type[Row], columns: dict[str, object]) -> Row:
        seq = columns.pop("seq", None)
        number = self.reserve(_TABLE_OF[struct], 1).start if seq is None else seq
        assert isinstance(number, int)
        return struct(run_id=self.run_id, gate=self.gate, seq=number, **columns)

    def add_collected(self, table: str, row: dict[str, object]) -> None:
        """Append one row of a table that the target declares."""
        (number,) = self.reserve(table, 1)
        common = {"run_id": self.run_id, "gate": self.gate, "seq": number}
        self._write(f"collected.{table}", _encode({**common, **row}))

    def reserve(self, table: str, count: int) -> range:
        """Sequence numbers for rows of `table` that are written elsewhere."""
        with self._lock:
            first = self._next.get(table, 0)
            self._next[table] = first + count
        return range(first, first + count)

    @property
    def secrets(self) -> Mapping[str, str]:
        """Every known secret with its name."""
        return self._redactor.secrets

    def keep_secret(self, secret: str, name: str) -> None:
        """From now on this text is written as `[redacted]`; one that is known already keeps its name."""
        self._learnt = self._redactor.keep(secret, name) or self._learnt

    def redact(self, data: bytes) -> bytes:
        """`data` without any known secret and without anything that matches a pattern."""
        return self._redactor.redact(data)

    def look_for_secrets(self, data: bytes, found_in: str, found_at: str) -> None:
        """Record the secrets in what the target left elsewhere than in a row: its output, its files."""
        for name in self._redactor.found(data):
            self.add(Secret, secret=name, found_in=found_in, found_at=found_at, found_seq=None)

    def close(self) -> None:
        """Write one closing row per file of the run, those of other processes included; nothing can follow.

        What became known as a secret after it was written, by this process or by a load, is taken out before.
        """
        if self._learnt:
            self._redact_again()
        for path in sorted(self.directory.glob("*.jsonl")):
            if path.name == "closings.jsonl":
                continue
            self.add(Closing, **_closing(path))
        with self._lock:
            self._closed = True
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()

    def add_late(self, table: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Rows that could be known only after the run was closed: they get a file, and a closing row, of their own."""
        path = self.directory / f"{table}.late.jsonl"
        with path.open("xb") as late:
            for columns in rows:
                line = _encode(self._row(TABLES[table], dict(columns)))
                late.write(self._redactor.redact_line(line) + b"\n")
        with (self.directory / "closings.jsonl").open("ab") as closings:
            closings.write(_encode(self._row(Closing, _closing(path))) + b"\n")

    def _redact_again(self) -> None:
        for path in sorted(self.directory.glob("*.jsonl")):
            file = path.name.removesuffix(".jsonl")
            table = file if file.startswith(COLLECTED_PREFIX) else file.partition(".")[0]
            lines = regular.read(path).split(b"\n")
            # The last one is empty, or cut off.
            clean = [*map(self._redactor.redact_line, lines[:-1]), self.redact(lines[-1])]
            # Where secrets were seen holds none, and is still written to.
            if clean == lines or table == "secrets":
                continue
            for line, redacted in zip(lines[:-1], clean, strict=False):
                if redacted != line:
                    self._see(table, line)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(b"\n".join(clean))
            fresh.replace(path)

    def _see(self, file: str, line: bytes) -> None:
        for columns in sightings(file, line, self._redactor):
            self.add(Secret, **columns)

    def _write(self, file: str, line: bytes) -> None:
        redacted = self._redactor.redact_line(line)
        self._append(file, redacted + b"\n")
        if redacted != line:
            self._see(file, line)

    def _append(self, file: str, data: bytes) -> None:
        with self._lock:
            try:
                descriptor = self._open(file)
                written = os.write(descriptor, data)
                if written != len(data):
                    # Half a line would take the next one with it.
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            except OSError as error:
                raise RecordingError(f"cannot record to {file}.jsonl: {error.strerror}") from error
        if written != len(data):
            raise RecordingError(
                f"cannot record to {file}.jsonl: only {written} of {len(data)} bytes fitted"
            )

    def _open(self, file: str) -> int:
        if self._closed:
            raise RecordingError(
                f"cannot record to {file}.jsonl: the evidence of this run is closed"
            )
        if file not in self._files:
            # Evidence of another run is never added to.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
            self._files[file] = os.open(self.directory / f"{file}.jsonl", flags, 0o644)
        return self._files[file]


def _closing(path: Path) -> dict[str, object]:
    """What the closing row of a file says."""
    lines, digest = count_and_digest(path)
    return {"file": path.name, "lines": lines, "sha256": digest}


def count_and_digest(path: Path, chunk_bytes: int = 1 << 20) -> tuple[int, str]:
    """(number of lines, SHA-256 in hex) of a file."""
    digest = hashlib.sha256()
    lines = 0
    with regular.opened(path) as file:
        while chunk := file.read(chunk_bytes):
            digest.update(chunk)
            lines += chunk.count(b"\n")
    return lines, digest.hexdigest()
