"""`manifest.json`: every file of a release with its digest and size, and what is no longer as it says."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError
from gates.release.stored import read, read_loosely, written

FILE = "manifest.json"
ATTESTATION = "attestation.json"
SIGNED = "attestation.intoto.jsonl"
OUTSIDE = frozenset({FILE, ATTESTATION, SIGNED})
"""What is not listed: the manifest itself, and what is made from it."""

FORM = "4.0"
"""The form of a release directory. Another one is refused: its verdict follows by the rules of its own harness."""


class Entry(Struct, frozen=True, kw_only=True):
    """One file: its path below the release directory, its SHA-256 in hex and its size."""

    path: str
    sha256: str
    size_bytes: int


class Form(Struct, frozen=True, kw_only=True):
    """What every manifest says, whatever its form."""

    schema_version: str


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
        schema_version=FORM,
        release=release,
        files=[_entry(directory, path) for path in _files(directory) if path not in OUTSIDE],
    )
    (directory / FILE).write_bytes(written(listed))
    return listed


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a release; HarnessError when there is none that can be read."""
    if not directory.is_dir():
        raise HarnessError(f"there is no directory {directory}")
    path = directory / FILE
    form = read_loosely(path, Form).schema_version
    if form != FORM:
        made = f"{directory} is in form {form} of releases, this harness reads {FORM}"
        raise HarnessError(f"{made}: check it with the harness of its own commit")
    return read(path, Manifest)


def irregular(directory: Path) -> Iterator[Flaw]:
    """Everything in a release that is neither a regular file nor a directory: opening it may lead out, or never end."""
    for path, mode in _entries(directory):
        kind = _SORTS.get(stat.S_IFMT(mode))
        if kind is not None:
            yield Flaw(path=path, problem=f"it is {kind}: a release holds regular files only")


def raise_irregular(directory: Path) -> None:
    """HarnessError when a release holds anything but regular files."""
    for flaw in irregular(directory):
        raise HarnessError(f"cannot read {directory / flaw.path}: {flaw.problem}")


_SORTS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def flaws(directory: Path, manifest: Manifest) -> Iterator[Flaw]:
    """Every file that was changed, is missing or was added since the manifest was written.

    Only files that lie in the directory are read: a path that leads out of it is a missing file. There must be none but
    regular ones.
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


def _entry(directory: Path, path: str) -> Entry:
    whole = directory / path
    return Entry(path=path, sha256=regular.sha256(whole), size_bytes=whole.stat().st_size)


def _files(directory: Path) -> list[str]:
    """Everything below `directory` that is no directory, by its path with slashes."""
    return sorted(path for path, _ in _entries(directory))


def _entries(directory: Path) -> Iterator[tuple[str, int]]:
    """The same, links included, as it is shown, with its mode."""
    for folder, folders, names in os.walk(directory, followlinks=False):
        below = folder[len(os.fspath(directory)) :].lstrip("/")
        for name in (*names, *folders):
            mode = os.lstat(f"{folder}/{name}").st_mode
            if not stat.S_ISDIR(mode):
                path = f"{below}/{name}" if below else name
                yield os.fsencode(path).decode("utf-8", "backslashreplace"), mode
