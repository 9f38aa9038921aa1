"""Faults on links. One file each, named as in YAML. To add one: a file beside this one, and its name here.

Nothing below this package but `window` and `run` touches a process or a socket.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from chaos.faults.base import FaultKind, FaultStep, Signature
from chaos.spec.target import LinkSpec

FILES: Final = (
    "cut",
    "latency",
    "bandwidth",
    "slow_close",
    "timeout",
    "reset_peer",
    "slicer",
    "limit_data",
)

_FAULTS: tuple[FaultKind, ...] = tuple(import_module(f"{__name__}.{file}").FAULT for file in FILES)

FAULTS: Mapping[str, type[FaultStep]] = {fault.spec.kind: fault.spec for fault in _FAULTS}
"""The Struct of every fault by its key in YAML."""

SIGNATURES: Mapping[str, Signature] = {fault.spec.kind: fault.signature for fault in _FAULTS}
"""What every fault looks like from outside, by the same keys."""


def impossible(step: FaultStep, link: LinkSpec) -> str | None:
    """Why the fault makes no sense on this link, or its signature cannot be seen by the link's probe, if so."""
    return step.problem() or step.unseen_by(link)
