"""`write`: put a file in place, or change a stopped database."""

import re
import shutil
import stat
from pathlib import Path

import apsw

from chaos import bounds, regular
from chaos.engine.files import bound_in_time, open_elsewhere, strict_about_names
from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.evidence.recorder import as_json
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Write(Step, frozen=True, kw_only=True):
    """`write: "{state}/keys.json"` with one of `text`, `json`, `copy_of`, `absent: true`, `directory: true` and `sql`.

    `sql` are statements that are run on a database that nobody has open and that must change something.
    `mode: "0600"`, which may stand alone, sets the file's permissions; without it a file that is replaced
    keeps the ones it had.
    """

    write: str
    text: str | None = None
    json: object = None
    copy_of: str | None = None
    absent: bool = False
    directory: bool = False
    sql: str | None = None
    mode: str | None = None

    def problem(self) -> str | None:
        """Why this cannot be carried out, or None."""
        contents = [self.text, self.json, self.copy_of, self.sql]
        ways = sum(content is not None for content in contents) + self.absent + self.directory
        if ways > 1 or (ways == 0 and self.mode is None):
            return "`write` needs exactly one of text, json, copy_of, absent, directory and sql"
        if self.mode is not None and re.fullmatch("[0-7]{3,4}", self.mode) is None:
            return f'a mode is written like "0600", not {self.mode!r}'
        if self.mode is not None and self.absent:
            return "what is absent has no mode"
        return None


async def run(step: Write, scope: Scope) -> None:
    """Replace what is there."""
    content = _content(step, scope)
    replaced = content is not None or step.absent or step.directory
    # What is replaced is a link itself; SQL and modes are for what it leads to.
    path = scope.writable(step.write, itself=replaced)
    if step.sql is not None:
        _run_sql(path, scope.variables.text(step.sql), scope)
    elif step.absent or step.directory:
        _remove(path)
        if step.directory:
            path.mkdir()
    elif content is not None:
        _replace(path, content)
    if step.mode is not None:
        path.chmod(int(step.mode, 8))


def _replace(path: Path, content: bytes) -> None:
    """Another content, the same permissions: they must not be what the target notices."""
    mode = path.stat().st_mode if path.is_file() else None
    _remove(path)
    path.write_bytes(content)
    if mode is not None:
        path.chmod(stat.S_IMODE(mode))


def _content(step: Write, scope: Scope) -> bytes | None:
    if step.copy_of is not None:
        return regular.read(scope.readable(step.copy_of), bounds.FILE_BYTES)
    if step.text is not None:
        return scope.variables.text(step.text).encode()
    if step.json is not None:
        return bytes(as_json(scope.variables.fill(step.json)))
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run_sql(path: Path, sql: str, scope: Scope) -> None:
    if not path.exists():
        raise HarnessError(f"{path.name} does not exist, so no SQL can be run on it")
    if holders := open_elsewhere(path):
        raise HarnessError(
            f"{path.name} is open in process {holders[0]}: stop it before its file is changed"
        )
    try:
        connection = apsw.Connection(str(path))
        try:
            connection.pragma("ignore_check_constraints", True)
            strict_about_names(connection)
            bound_in_time(connection)
            before = connection.total_changes()
            for _ in connection.execute(sql):
                pass
            changed = connection.total_changes() - before
        finally:
            connection.close()
    except apsw.Error as error:
        raise HarnessError(f"the SQL does not run: {error}") from error
    if changed == 0:
        raise HarnessError("the SQL changed nothing")


KIND = Kind("write", Write, run, paths={"write": "written", "copy_of": "read"})
