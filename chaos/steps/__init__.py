"""Every kind of step, in one table. To add one: a file beside this one, and a line here."""

from collections.abc import Iterable, Mapping

import msgspec

from chaos.engine.scope import Kind
from chaos.faults import FAULTS
from chaos.faults.run import run_fault
from chaos.spec.loader import Refusal, closest
from chaos.spec.step import Step
from chaos.steps import (
    await_,
    clear,
    clock,
    corrupt,
    hammer,
    kill,
    load,
    parallel,
    pause,
    query,
    repeat,
    request,
    restart,
    run,
    start,
    stream,
    unchanged,
    use,
    watch,
    write,
)

_TABLE = (
    # talk
    Kind("request", request.Request, request.run),
    Kind("stream", stream.Stream, stream.run),
    Kind("load", load.Load, load.run),
    Kind("await", await_.Await, await_.run),
    # faults
    *(Kind(name, spec, run_fault) for name, spec in FAULTS.items()),
    Kind("clear", clear.Clear, clear.run),
    # processes
    Kind("start", start.Start, start.run),
    Kind("kill", kill.Kill, kill.run),
    Kind("restart", restart.Restart, restart.run),
    Kind("clock", clock.Clock, clock.run),
    Kind("hammer", hammer.Hammer, hammer.run),
    Kind("watch", watch.Watch, watch.run),
    # state
    Kind("run", run.Run, run.run),
    Kind("write", write.Write, write.run),
    Kind("corrupt", corrupt.Corrupt, corrupt.run),
    Kind("query", query.Query, query.run),
    Kind("unchanged", unchanged.Unchanged, unchanged.run),
    # flow
    Kind("repeat", repeat.Repeat, repeat.run),
    Kind("parallel", parallel.Parallel, parallel.run),
    Kind("pause", pause.Pause, pause.run),
    Kind("use", use.Use, use.run),
)

KINDS: Mapping[type[Step], Kind] = {kind.spec: kind for kind in _TABLE}
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in _TABLE}
_OPTIONS = frozenset(field.encode_name for field in msgspec.structs.fields(Step))


def choose_step(keys: Iterable[str]) -> type[Step] | Refusal:
    """The Struct of a step by its one kind key, or what is wrong with its keys."""
    names = list(keys)
    found = [key for key in names if key in BY_NAME]
    if len(found) == 1:
        return BY_NAME[found[0]].spec
    if found:
        message = f"a step has exactly one kind, this one has {' and '.join(found)}"
        return Refusal(message, found[1])
    # The key that is no option of any step is most likely the misspelt kind.
    stranger = next((key for key in names if key not in _OPTIONS), None)
    if stranger is not None and (hint := closest(stranger, BY_NAME)) is not None:
        return Refusal(f"unknown kind of step {stranger!r}", stranger, hint)
    return Refusal(f"a step needs exactly one kind: one of {', '.join(BY_NAME)}")
