"""What a kind of step says of itself, to whoever reads, checks, explains or runs steps of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from chaos.spec.step import Step

PathUse = Literal["written", "read"]
"""What a step does with a path: where it may lie depends on that."""

Noun = Literal["process", "link", "fault", "load"]
"""What a name in a step is the name of. All but processes are known before a run, so nothing is filled into them."""


class Kind(Struct, frozen=True):
    """A kind of step: its name in YAML, its Struct, how it is carried out, and what is true of all of its steps.

    `run` returns how often the steps inside were run, where there are any. By the names of fields:
    `observes` are those of `expect` that it may speak of, `names` those that name something,
    `paths` those that are paths, `fills` the variables that a step has for one field alone, and `filled_in`
    those that no spec writes, as they come from another file. `records` maps columns of evidence to the field that says
    what a step is called there, where `name` is its name or its id. `captures` says that there is an answer to capture from, `sends`
    that it sends requests and takes `defaults`, `only_reads` that it may be part of a gate on a shared stack,
    `keeps` that variables set by steps inside of it stay there, `at_once` that its lists of steps run at the same time, `starts`
    that it starts the processes that it names, or changes what only a start gives them.
    """

    name: str
    spec: type[Step]
    run: Callable[..., Awaitable[int | None]]
    observes: frozenset[str] = frozenset()
    captures: bool = False
    sends: bool = False
    only_reads: bool = False
    names: Mapping[str, Noun] = {}
    paths: Mapping[str, PathUse] = {}
    records: Mapping[str, str] = {}
    fills: Mapping[str, frozenset[str]] = {}
    filled_in: frozenset[str] = frozenset()
    keeps: bool = False
    at_once: bool = False
    starts: bool = False

    def named(self, step: Step, noun: Noun) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every name of this sort in one of its steps, each with its place in it."""
        for field, what in self.names.items():
            value = getattr(step, field) if what == noun else ()
            if isinstance(value, str):
                yield (field,), value
            else:
                yield from (((field, index), name) for index, name in enumerate(value))


Kinds = Mapping[type[Step], Kind]
