"""What a stopped target has kept: every table of its databases and every file, each with a digest."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from chaos import regular
from chaos.engine.files import SIDE_FILES, database_copy, open_elsewhere, table_digests
from chaos.errors import HarnessError

Kind = Literal["table", "file"]
Look = dict[tuple[Kind, str], str]
"""What was seen by (kind, item): of a table its rows, of a file its sort and mode, and the SHA-256 of its content."""

_SORTS = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
)


def look_at_tables(databases: Mapping[str, Path], without: Collection[str]) -> Look:
    """All tables of databases that nobody has open, as `name.table`; HarnessError when somebody has."""
    seen: Look = {}
    there = {name: path for name, path in databases.items() if path.exists()}
    for name, path in there.items():
        if holders := open_elsewhere(path):
            raise HarnessError(
                f"{path.name} is open in process {holders[0]}: it cannot be looked at"
            )
        with database_copy(path) as connection:
            for row in table_digests(connection, without):
                seen["table", f"{name}.{row['table']}"] = f"{row['rows']} rows {row['sha256']}"
    return seen


def look_at_files(
    paths: Iterable[Path], state: Path, databases: Collection[Path], without: Collection[str]
) -> Look:
    """Files of the state directory, with everything below those that are directories, by their place in it.

    Of `databases` and of what `without` names only the sort and the mode are told, and nothing of what is below it; a
    database's journals come and go.
    All paths are free of links, and `paths` are in the state directory; no link is followed.
    """
    stores = set(databases)
    journals = {path.with_name(path.name + suffix) for path in stores for suffix in SIDE_FILES}
    kept = {state / name for name in without} | stores
    found = {path for root in paths for path in _below(root, kept)}
    return {
        ("file", _text(path.relative_to(state))): _file(path, content=path not in kept)
        for path in sorted(found - journals)
    }


def _below(path: Path, closed: Collection[Path]) -> Iterator[Path]:
    if not os.path.lexists(path):
        return
    yield path
    if path.is_dir() and not path.is_symlink() and path not in closed:
        for entry in path.iterdir():
            yield from _below(entry, closed)


def _text(path: Path) -> str:
    """A name as JSON can have it, whatever its bytes are."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _file(path: Path, *, content: bool) -> str:
    status = path.lstat()
    sort = next((name for is_sort, name in _SORTS if is_sort(status.st_mode)), "file")
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if sort == "link":
        # With its digest: two secrets in the places of links would be redacted to the same text.
        target = path.readlink()
        return f"link to {_text(target)} {hashlib.sha256(os.fsencode(target)).hexdigest()}"
    if sort != "file" or not content:
        return f"{sort} {mode}"
    with regular.opened(path) as file:
        return f"{sort} {mode} {hashlib.file_digest(file, 'sha256').hexdigest()}"
