"""`write`: put a file in place, or change a stopped database."""

import shutil
from pathlib import Path

import apsw

from chaos.engine.files import open_elsewhere
from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.evidence.recorder import as_json
from chaos.spec.step import Step


class Write(Step, frozen=True, kw_only=True):
    """`write: "{state}/keys.json"` with exactly one of `text`, `json`, `copy_of`, `absent: true`, `directory: true`
    and `sql` (statements run on a database that nobody has open); `mode: "0600"` sets its permissions.
    """

    write: str
    text: str | None = None
    json: object = None
    copy_of: str | None = None
    absent: bool = False
    directory: bool = False
    sql: str | None = None
    mode: str | None = None


async def run(step: Write, scope: Scope) -> None:
    """Replace what is there."""
    path = Path(scope.variables.text(step.write))
    ways = [step.text is not None, step.json is not None, step.copy_of is not None]
    if sum([*ways, step.absent, step.directory, step.sql is not None]) != 1 and step.mode is None:
        raise HarnessError(
            "`write` needs exactly one of text, json, copy_of, absent, directory and sql"
        )
    if step.sql is not None:
        _run_sql(path, scope.variables.text(step.sql), scope)
    elif any(ways):
        _remove(path)
        path.write_bytes(_content(step, scope))
    elif step.absent or step.directory:
        _remove(path)
        if step.directory:
            path.mkdir()
    if step.mode is not None and path.exists():
        path.chmod(int(step.mode, 8))


def _content(step: Write, scope: Scope) -> bytes:
    if step.copy_of is not None:
        return Path(scope.variables.text(step.copy_of)).read_bytes()
    if step.text is not None:
        return scope.variables.text(step.text).encode()
    return bytes(as_json(scope.variables.fill(step.json)))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run_sql(path: Path, sql: str, scope: Scope) -> None:
    if not path.exists():
        raise HarnessError(f"{path.name} does not exist, so no SQL can be run on it")
    if holders := open_elsewhere(path, scope.stack.marker):
        raise HarnessError(
            f"{path.name} is open in process {holders[0]}: stop it before its file is changed"
        )
    connection = apsw.Connection(str(path))
    try:
        connection.pragma("ignore_check_constraints", True)
        for _ in connection.execute(sql):
            pass
        if connection.changes() == 0:
            raise HarnessError("the SQL changed nothing")
    except apsw.Error as error:
        raise HarnessError(f"the SQL does not run: {error}") from error
    finally:
        connection.close()
