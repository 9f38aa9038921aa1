"""Every kind of step, in one table. To add one: a file beside this one, and a line here."""

from collections.abc import Iterable, Mapping

from chaos.engine.scope import Kind
from chaos.faults import FAULTS, run_fault
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
    run,
    start,
    stream,
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
    Kind("clock", clock.Clock, clock.run),
    Kind("hammer", hammer.Hammer, hammer.run),
    Kind("watch", watch.Watch, watch.run),
    # state
    Kind("run", run.Run, run.run),
    Kind("write", write.Write, write.run),
    Kind("corrupt", corrupt.Corrupt, corrupt.run),
    Kind("query", query.Query, query.run),
    # flow
    Kind("repeat", repeat.Repeat, repeat.run),
    Kind("parallel", parallel.Parallel, parallel.run),
    Kind("pause", pause.Pause, pause.run),
    Kind("use", use.Use, use.run),
)

KINDS: Mapping[type[Step], Kind] = {kind.spec: kind for kind in _TABLE}
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in _TABLE}


def choose_step(keys: Iterable[str]) -> type[Step] | str:
    """The Struct of a step by its one kind key, or what is wrong with its keys."""
    found = [key for key in keys if key in BY_NAME]
    if len(found) == 1:
        return BY_NAME[found[0]].spec
    if not found:
        return f"a step needs exactly one kind; kinds are {', '.join(BY_NAME)}"
    return f"a step has exactly one kind, this one has {' and '.join(found)}"
