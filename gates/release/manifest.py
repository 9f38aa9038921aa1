"""`manifest.json`: every file of a release with its digest and size, and what is no longer as it says."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError

FILE = "manifest.json"
ATTESTATION = "attestation.json"
VERDICT = "attestation-verdict.json"
SIGNED = "attestations.intoto.jsonl"
OUTSIDE = frozenset({FILE, ATTESTATION, VERDICT, SIGNED})
"""What is not listed: the manifest itself, and what is made from it."""

SCHEMA_VERSION = "2.0"


class Entry(Struct, frozen=True, kw_only=True):
    """One file: its path below the release directory, its SHA-256 in hex and its size."""

    path: str
    sha256: str
    size_bytes: int


class Manifest(Struct, frozen=True, kw_only=True):
    """All files of a release, sorted by path."""

    schema_version: str
    release: str
    files: list[Entry]


class Flaw(Struct, frozen=True, kw_only=True):
    """Something that is not as it was released: where, and what."""

    path: str
    problem: str


def write_manifest(directory: Path, release: str) -> Manifest:
    """List what is there now, and write the list beside it."""
    listed = Manifest(
        schema_version=SCHEMA_VERSION,
        release=release,
        files=[_entry(directory, path) for path in _files(directory) if path not in OUTSIDE],
    )
    (directory / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(listed)))
    return listed


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a release; HarnessError when there is none that can be read."""
    path = directory / FILE
    try:
        manifest = msgspec.json.decode(regular.read(path), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"cannot read {path}: {error}") from error
    if manifest.schema_version != SCHEMA_VERSION:
        made = f"{directory} is in form {manifest.schema_version} of releases, this harness reads {SCHEMA_VERSION}"
        raise HarnessError(f"{made}: check it with the harness of its own commit")
    return manifest


def flaws(directory: Path, manifest: Manifest) -> Iterator[Flaw]:
    """Every file that was changed, is missing or was added since the manifest was written.

    Only files that lie in the directory are read: a path that leads out of it is a missing file.
    """
    listed: dict[str, Entry] = {}
    for entry in manifest.files:
        if entry.path in listed:
            yield Flaw(path=entry.path, problem="listed twice in the manifest")
        listed[entry.path] = entry
    found = set(_files(directory))
    for path in sorted(listed.keys() - found):
        yield Flaw(path=path, problem="missing")
    for path in sorted(found - listed.keys() - OUTSIDE):
        yield Flaw(path=path, problem="not in the manifest: it was added")
    for path in sorted(found & listed.keys()):
        yield from _changed(directory, listed[path])


def _changed(directory: Path, listed: Entry) -> Iterator[Flaw]:
    try:
        now = _entry(directory, listed.path)
    except OSError as error:
        yield Flaw(path=listed.path, problem=f"cannot be read: {error.strerror}")
        return
    if now.sha256 != listed.sha256:
        resized = f"{now.size_bytes} bytes, {listed.size_bytes} when it was released"
        same = f"as long as it was, {now.size_bytes} bytes"
        what = same if now.size_bytes == listed.size_bytes else resized
        yield Flaw(path=listed.path, problem=f"changed: {what}")
    elif now.size_bytes != listed.size_bytes:
        yield Flaw(path=listed.path, problem="the manifest gives another size")


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file in hex, read piece by piece."""
    with regular.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(directory: Path, path: str) -> Entry:
    whole = directory / path
    if whole.is_symlink():
        # A link would be followed to somewhere that is not shipped.
        return Entry(path=path, sha256="", size_bytes=0)
    return Entry(path=path, sha256=digest_of_file(whole), size_bytes=whole.stat().st_size)


def _files(directory: Path) -> list[str]:
    """Everything below `directory` that is no directory, links included, by its path with slashes."""
    found = []
    for folder, folders, names in os.walk(directory, followlinks=False):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*names, *links]:
            path = Path(folder, name).relative_to(directory).as_posix()
            found.append(os.fsencode(path).decode("utf-8", "backslashreplace"))
    return sorted(found)
