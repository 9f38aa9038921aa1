"""`unchanged`: what the target has kept, before and after other steps."""

import os
from pathlib import Path

from chaos.engine import again
from chaos.engine.looks import Look, look_at_files, look_at_tables
from chaos.engine.scope import Scope, StopScenario
from chaos.errors import HarnessError
from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Unchanged(Step, frozen=True, kw_only=True):
    """`unchanged: reading` around `steps`, with `databases` by name, `files`, and `without` for what may change.

    Before the first and after the last of the steps, what runs is stopped with SIGTERM, looked at, and started again as
    it was started last, unless the gate ends there. Each table, file and directory is a row of `unchanged` with what it was `before` and `after`;
    NULL is what was not there.
    """

    unchanged: str
    databases: dict[str, str] = {}
    files: list[str] = []
    without: list[str] = []
    steps: list[Step]

    def problem(self) -> str | None:
        """Looking at nothing, or at what nothing was done to, shows nothing."""
        if not self.databases and not self.files:
            return "`unchanged` needs `databases` or `files`"
        return None if self.steps else "`unchanged` needs `steps`"


async def run(step: Unchanged, scope: Scope) -> int:
    """Look, run the inner steps, look again, and record both looks, whatever became of the steps."""
    _require(step, scope)
    before = await _look(step, scope)
    stopped: StopScenario | None = None
    try:
        await scope.run_steps(step.steps, "steps")
    except StopScenario as reason:
        stopped = reason
    _record(step, scope, before, await _look(step, scope, again_after=not scope.is_last))
    if stopped is not None:
        raise stopped
    return 1


def _require(step: Unchanged, scope: Scope) -> None:
    """What is misspelt would be absent before and after: HarnessError."""
    databases, files = _looked_at(step, scope)
    for path in [*databases.values(), *files]:
        if not os.path.lexists(path):
            raise HarnessError(f"{path} does not exist, so nothing can be said of it")


async def _look(step: Unchanged, scope: Scope, *, again_after: bool = True) -> Look:
    """One look at the stopped target; what ran runs again afterwards, whatever could not be looked at."""
    names = again.running(scope.stack)
    try:
        await again.stop(scope.stack, names)
        return _seen(step, scope)
    finally:
        if again_after:
            stopped = [name for name in names if not again.is_running(scope.stack, name)]
            await again.start(scope.stack, stopped)


def _seen(step: Unchanged, scope: Scope) -> Look:
    databases, files = _looked_at(step, scope)
    without = {scope.variables.text(name) for name in step.without}
    return {
        **look_at_tables(databases, without),
        **look_at_files(files, scope.stack.places.state, databases.values(), without),
    }


def _looked_at(step: Unchanged, scope: Scope) -> tuple[dict[str, Path], list[Path]]:
    """Databases by name, and files and directories of the state directory."""
    databases = {name: scope.readable(path) for name, path in step.databases.items()}
    kept = scope.stack.places.kept
    return databases, [kept(scope.variables.text(path)) for path in step.files]


def _record(step: Unchanged, scope: Scope, before: Look, after: Look) -> None:
    for kind, item in dict.fromkeys([*before, *after]):
        scope.recorder.add(
            schema.Unchanged,
            step=scope.variables.text(step.unchanged),
            vars=as_json(scope.row_vars),
            kind=kind,
            item=item,
            before=before.get((kind, item)),
            after=after.get((kind, item)),
        )


KIND = Kind("unchanged", Unchanged, run, records={"unchanged.step": "unchanged"})
