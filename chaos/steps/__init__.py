"""Every kind of step. To add one: a file beside this one, and its name here."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Final

import msgspec

from chaos.faults import FAULTS
from chaos.faults.run import run_fault
from chaos.spec.kind import Kind, Kinds
from chaos.spec.loader import Refusal, closest
from chaos.spec.step import Step

FILES: Final = (
    # talk
    "request",
    "stream",
    "load",
    "await_",
    # faults, which stand in `chaos.faults`, and
    "clear",
    # processes
    "start",
    "kill",
    "restart",
    "clock",
    "hammer",
    "watch",
    # state
    "hold",
    "run",
    "write",
    "corrupt",
    "query",
    "unchanged",
    # flow
    "repeat",
    "parallel",
    "pause",
    "use",
)

_NAMES_OF_FAULTS = ("faults.fault", "link_probes.fault", "requests.during", "requests.touched")
_FAULTS = [
    Kind(
        name,
        spec,
        run_fault,
        names={name: "link"},
        records=dict.fromkeys(_NAMES_OF_FAULTS, "name"),
    )
    for name, spec in FAULTS.items()
]
_KINDS: list[Kind] = [import_module(f"{__name__}.{file}").KIND for file in FILES]
_KINDS[FILES.index("clear") : FILES.index("clear")] = _FAULTS

KINDS: Kinds = {kind.spec: kind for kind in _KINDS}
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
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
