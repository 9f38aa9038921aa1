"""An incident as a directory: `manifest.json`, `config.json` and one file of lines per table.

What is read is what was written: every file is as long as its manifest says when the bundle is opened, and what is read of
it has its digest before an answer is given.
"""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from chaos import regular
from chaos.errors import UNREADABLE, HarnessError, told

FORMAT: Final = 1
MANIFEST, CONFIG = "manifest.json", "config.json"
LARGEST_DOCUMENT_BYTES: Final = 8 * 2**20
"""More has no manifest and no configuration."""
BLOCK_BYTES: Final = 2**20

T = TypeVar("T")
Fact: TypeAlias = str | int | float | bool | None


class Sealed(Struct, frozen=True):
    """What a file was when the bundle was made."""

    sha256: str
    bytes: int


class Manifest(Struct, frozen=True, kw_only=True):
    """What a bundle says of itself. Times are milliseconds since 1970, in UTC."""

    format: int
    incident_id: str
    created_at_ms: float
    from_ms: float
    to_ms: float
    reason: str
    versions: dict[str, Fact] = {}
    counts: dict[str, int] = {}
    files: dict[str, Sealed]


class _Head(Struct, frozen=True):
    format: int
    versions: dict[str, Fact] = {}


class Input(Struct, frozen=True):
    """What a stage took from the world: a time, an answer, an id."""

    kind: str
    value: Raw = Raw(b"null")


class Request(Struct, frozen=True, kw_only=True):
    """A line of `requests`: one HTTP request, frame of a stream or run of a task."""

    request_id: str
    began_ms: float
    kind: str
    method: str | None = None
    route: str | None = None
    actor_id: str | None = None
    role: str | None = None
    queue: str | None = None
    envelope: Raw = Raw(b"null")
    outcome: str
    status: int | None = None
    code: str = ""
    took_us: int
    trace_class: str


class Decision(Struct, frozen=True, kw_only=True):
    """A line of `decisions`: what one stage of a request decided, from the `n`th on."""

    request_id: str
    n: int
    stage: str
    decision: str
    reason: str = ""
    began_us: int
    took_us: int
    at_ms: float
    inputs: list[Input] = []


class Event(Struct, frozen=True, kw_only=True):
    """A line of `events`: what happened beside requests."""

    at_ms: float
    event: str
    name: str
    detail: Raw = Raw(b"{}")


TABLES: Final[Mapping[str, type[Struct]]] = {
    "requests": Request,
    "decisions": Decision,
    "events": Event,
}
LINES, PARQUET = ".jsonl", ".parquet"
"""As what a table may lie there."""


class Bundle(Struct, frozen=True):
    """A bundle whose files are there and as long as they should be. `config` is what was set, as JSON."""

    directory: Path
    manifest: Manifest
    config: dict[str, object]
    sources: Mapping[str, Path]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.manifest.incident_id


class BundleError(HarnessError):
    """A bundle cannot be read. Says which file and line, and what to do."""

    def __init__(self, path: Path, what: str, advice: str, line: int | None = None) -> None:
        place = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{place}: {what}\n    {advice}")


COPY_AGAIN: Final = "copy the bundle again from where it was exported, or export it again"


def open_bundle(directory: Path) -> Bundle:
    """Read manifest and configuration, and look for the tables. Raises BundleError."""
    if not directory.is_dir():
        what = "this is no directory" if directory.exists() else "there is no such bundle"
        raise BundleError(
            directory, what, "a bundle is a directory, as `sonia incident export` makes it"
        )
    manifest = _manifest(directory / MANIFEST)
    config_file = directory / CONFIG
    _raise_cut(config_file, manifest)
    config = _decoded(config_file, _document(config_file), dict[str, object])
    sources = {table: _source(directory, table, manifest) for table in TABLES}
    return Bundle(directory, manifest, config, sources)


def raise_forged(bundle: Bundle, tables: Iterable[str]) -> None:
    """Raise BundleError where the configuration or one of these tables is not what the manifest was written for."""
    for path in (bundle.directory / CONFIG, *(bundle.sources[table] for table in tables)):
        was = bundle.manifest.files[path.name]
        if regular.sha256(path) != was.sha256:
            manifest = bundle.directory / MANIFEST
            raise BundleError(
                manifest,
                f"{path.name} has another digest than stands here: it was changed after the export",
                COPY_AGAIN,
                _line_of(_document(manifest), was.sha256),
            )


def sealed(path: Path) -> Sealed:
    """A file as a manifest lists it."""
    return Sealed(regular.sha256(path), path.stat().st_size)


def first_bad_line(path: Path, table: str) -> BundleError | None:
    """What is wrong with the first line of JSON that is not a row of `table`, or None when all are."""
    decoder = msgspec.json.Decoder(TABLES[table])
    with regular.opened(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    decoder.decode(line)
            except UNREADABLE as error:
                what = f"this line is not one of {table}: {told(error)}"
                return BundleError(path, what, COPY_AGAIN, number)
    return None


def _manifest(path: Path) -> Manifest:
    data = _document(path)
    head = _decoded(path, data, _Head)
    if head.format > FORMAT:
        by = f" by SONIA {head.versions['sonia']}" if "sonia" in head.versions else ""
        raise BundleError(
            path,
            f"this bundle was written in format {head.format}{by}, and formats up to {FORMAT} are known here",
            "read it with the harness of the release that wrote it, or of a newer one",
            _line_of(data, '"format"'),
        )
    if head.format < 1:
        raise BundleError(
            path, f"there is no format {head.format}", COPY_AGAIN, _line_of(data, '"format"')
        )
    return _decoded(path, data, Manifest)


def _document(path: Path) -> bytes:
    """The whole of a small file."""
    _raise_irregular(path)
    try:
        return regular.read(path, LARGEST_DOCUMENT_BYTES)
    except regular.TooLargeError:
        what = f"it has more than {LARGEST_DOCUMENT_BYTES:,} bytes, which no bundle's has"
        raise BundleError(path, what, COPY_AGAIN) from None


def _decoded(path: Path, data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise BundleError(path, told(error), COPY_AGAIN, _line_told(data, str(error))) from None


def _line_told(data: bytes, message: str) -> int:
    """The line that an error of msgspec is about: by its byte, or by the last key that it names."""
    if byte := re.search(r"\(byte (\d+)\)", message):
        return data.count(b"\n", 0, int(byte[1])) + 1
    keys = re.findall(r"\$?\.(\w+)", message)
    return _line_of(data, f'"{keys[-1]}"') if keys else 1


def _line_of(data: bytes, text: str) -> int:
    """The line in which a text occurs first, or the first one."""
    return data.count(b"\n", 0, max(data.find(text.encode()), 0)) + 1


def _source(directory: Path, table: str, manifest: Manifest) -> Path:
    """The file of a table, as long as the manifest says."""
    listed = (name for suffix in (LINES, PARQUET) if (name := table + suffix) in manifest.files)
    path = directory / next(listed, table + LINES)
    _raise_cut(path, manifest)
    return path


def _raise_irregular(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = f"there is no {path.name} in this bundle" if missing else told(error, path)
        raise BundleError(path, what, COPY_AGAIN) from None
    if not stat.S_ISREG(mode):
        raise BundleError(path, "this is no regular file", COPY_AGAIN)


def _raise_cut(path: Path, manifest: Manifest) -> None:
    """Raise where a file is missing, or is not as long as it was."""
    _raise_irregular(path)
    was = manifest.files.get(path.name)
    if was is None:
        raise BundleError(
            path.with_name(MANIFEST), f"it lists no {path.name} under files", COPY_AGAIN
        )
    size = path.stat().st_size
    if size == was.bytes:
        return
    is_text = path.suffix == LINES
    raise BundleError(
        path,
        f"it has {size:,} bytes of the {was.bytes:,} that the manifest says"
        + (": it ends too early" if size < was.bytes else ": something was added"),
        COPY_AGAIN,
        _last_line(path) if is_text else None,
    )


def _last_line(path: Path) -> int:
    """The number of the last line, whether or not it is whole."""
    lines, last = 0, b"\n"
    for block in _blocks(path):
        lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")


def _blocks(path: Path) -> Iterator[bytes]:
    with regular.opened(path) as file:
        while block := file.read(BLOCK_BYTES):
            yield block
