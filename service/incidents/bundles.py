"""Bundles: an incident as a directory that can leave the machine, without a secret.

`requests.jsonl`, `decisions.jsonl` and `events.jsonl` hold what the segments hold of a span of time; `config.json` what was
in force, and `manifest.json` what each file was.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from service import SONIA_CONTRACT, SONIA_VERSION
from service.errors import SoniaError
from service.files import sync_directory, write_new
from service.incidents.records import FORMAT, DecisionLine, RequestLine, TraceLine
from service.incidents.redaction import Redaction
from service.incidents.segments import events_between, traces_between
from service.settings import load_settings
from service.state import StateDir

MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.json"
MOST_KEPT: Final = 32
"""Of the bundles in the state directory; what shall stay is exported to elsewhere, or moved."""
MANUAL: Final = "manual"
DEGRADED: Final = "degraded"
_encode = msgspec.json.Encoder().encode


class Sealed(msgspec.Struct, frozen=True):
    """What a file was when the bundle was made."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself. Times are milliseconds since the epoch."""

    format: int
    incident_id: str
    created_at_ms: int
    from_ms: float
    to_ms: float
    reason: str
    versions: dict[str, str]
    counts: dict[str, int]
    files: dict[str, Sealed]


class Span(msgspec.Struct, frozen=True):
    """What is exported: all that began in [from_ms, to_ms), because of `reason`."""

    from_ms: float
    to_ms: float
    reason: str = MANUAL


class _Lines:
    """A file of lines that is being written."""

    def __init__(self, path: Path, clean: Callable[[object], object]) -> None:
        self.count = 0
        self._digest = hashlib.sha256()
        self._clean = clean
        self._file = path.open("xb")

    def add(self, line: msgspec.Struct) -> None:
        data = _encode(self._clean(msgspec.to_builtins(line))) + b"\n"
        self._digest.update(data)
        self._file.write(data)
        self.count += 1

    def seal(self) -> Sealed:
        size = self._file.tell()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Sealed(self._digest.hexdigest(), size)


def export(state: StateDir, span: Span, incident_id: str, now_ms: int, out: Path) -> Manifest:
    """Make a bundle at `out`, which appears whole or not at all. Raises SoniaError."""
    if out.exists():
        raise SoniaError(f"{out} is there already; name a directory that is not")
    redaction = Redaction(secrets_of(state))
    config = redaction.clean(msgspec.to_builtins(load_settings(state.settings)))
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.mkdir(mode=0o700, parents=True)
        counts, files = _write(state, span, redaction, beside)
        files[CONFIG] = _write_document(beside / CONFIG, config)
        manifest = Manifest(
            format=FORMAT,
            incident_id=incident_id,
            created_at_ms=now_ms,
            from_ms=span.from_ms,
            to_ms=span.to_ms,
            reason=span.reason,
            versions=versions(),
            counts=counts,
            files=files,
        )
        _write_document(beside / MANIFEST, manifest)
        sync_directory(beside)
        beside.rename(out)
        sync_directory(out.parent)
    except OSError as wrong:
        raise SoniaError(f"the bundle cannot be written: {wrong}") from wrong
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _write(
    state: StateDir, span: Span, redaction: Redaction, directory: Path
) -> tuple[dict[str, int], dict[str, Sealed]]:
    names = ("requests", "decisions", "events")
    requests, decisions, events = files = [
        _Lines(directory / f"{name}.jsonl", redaction.clean) for name in names
    ]
    for trace in traces_between(state.traces, span.from_ms, span.to_ms):
        requests.add(request_of(trace))
        for line in decisions_of(trace):
            decisions.add(line)
    for event in events_between(state.events, span.from_ms, span.to_ms):
        events.add(event)
    counts = {name: each.count for name, each in zip(names, files, strict=True)}
    return counts, {f"{name}.jsonl": each.seal() for name, each in zip(names, files, strict=True)}


def request_of(trace: TraceLine) -> RequestLine:
    """A trace without its stages. Pure."""
    fields = {name: getattr(trace, name) for name in RequestLine.__struct_fields__}
    return RequestLine(**fields)


def decisions_of(trace: TraceLine) -> Iterator[DecisionLine]:
    """The stages of a trace, each as a line. Pure."""
    for n, each in enumerate(trace.decisions):
        yield DecisionLine(
            request_id=trace.request_id,
            n=n,
            stage=each.name,
            decision=each.decision,
            reason=each.reason,
            began_us=each.began_us,
            took_us=each.took_us,
            at_ms=trace.began_ms + each.began_us / 1000,
            inputs=each.inputs,
        )


def _write_document(path: Path, document: object) -> Sealed:
    data = msgspec.json.format(_encode(document), indent=2) + b"\n"
    write_new(path, data)
    return Sealed(hashlib.sha256(data).hexdigest(), len(data))


def versions() -> dict[str, str]:
    """What ran."""
    return {
        "sonia": SONIA_VERSION,
        "contract": SONIA_CONTRACT,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "msgspec": msgspec.__version__,
        "platform": platform.platform(),
    }


def secrets_of(state: StateDir) -> list[str]:
    """Every secret that is written in a file of keys, as it is spelt there."""
    found: list[str] = []
    for path in (state.keys, *state.links()):
        if path.exists():
            found += _texts(msgspec.json.decode(path.read_bytes()))
    return [each for each in found if "_" not in each[:5]]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def bundles_of(state: StateDir) -> list[Manifest]:
    """The bundles in the state directory, the oldest first; what is none, or not whole yet, is left out."""
    found = []
    for path in state.incidents.glob(f"[!.]*/{MANIFEST}"):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Manifest))
        except (OSError, msgspec.MsgspecError):
            continue
    return sorted(found, key=lambda each: (each.created_at_ms, each.incident_id))


def prune(state: StateDir) -> None:
    """Keep the newest MOST_KEPT bundles in the state directory, and nothing of what was killed while it was exported."""
    for path in state.incidents.glob(".*.*"):
        if not Path("/proc", path.name.rpartition(".")[2]).exists():
            shutil.rmtree(path, ignore_errors=True)
    for each in bundles_of(state)[:-MOST_KEPT]:
        shutil.rmtree(state.incidents / each.incident_id, ignore_errors=True)


class Bundle(msgspec.Struct, frozen=True):
    """A bundle as it is read again, and which of its files are not as its manifest says."""

    manifest: Manifest
    config: dict[str, object]
    traces: list[TraceLine]
    changed: list[str]


def read_bundle(directory: Path) -> Bundle:
    """Read a bundle; a copy whose inputs were changed can be read, too. Raises SoniaError."""
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
        config = msgspec.json.decode((directory / CONFIG).read_bytes(), type=dict[str, object])
        traces = list(_traces(directory))
        changed = [
            name
            for name, own in sorted(manifest.files.items())
            if _is_another(directory, name, own)
        ]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        raise SoniaError(f"{directory} is no bundle of an incident: {wrong}") from wrong
    if manifest.format != FORMAT:
        raise SoniaError(f"{directory} has format {manifest.format}; this is format {FORMAT}")
    return Bundle(manifest, config, traces, changed)


def _is_another(directory: Path, name: str, sealed: Sealed) -> bool:
    path = directory / Path(name).name
    if not path.exists():
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() != sealed.sha256


def _traces(directory: Path) -> Iterator[TraceLine]:
    stages: dict[str, list[DecisionLine]] = {}
    with (directory / "decisions.jsonl").open("rb") as file:
        for line in file:
            each = msgspec.json.decode(line, type=DecisionLine)
            stages.setdefault(each.request_id, []).append(each)
    with (directory / "requests.jsonl").open("rb") as file:
        for line in file:
            request = msgspec.json.decode(line)
            found = sorted(stages.get(request["request_id"], ()), key=lambda each: each.n)
            decisions = [msgspec.to_builtins(each) for each in found]
            yield msgspec.convert({**request, "decisions": decisions}, TraceLine)
