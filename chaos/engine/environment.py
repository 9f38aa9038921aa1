"""The environment that a target and the commands of gates start with: little of the harness's own."""

from collections.abc import Iterable, Mapping
from typing import Final

HANDED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR")
"""What every system needs, and nothing that a CI keeps its secrets in."""

_SHIM: Final = ("CHAOS_LINES_ROOT", "CHAOS_LINES_OUT", "PYTHONPATH")
"""While lines are watched (`chaos/shims/lines`), what is started is watched as well."""


def clean(own: Mapping[str, str], named: Iterable[str]) -> dict[str, str]:
    """Of an environment of one's own what is handed on: the usual four, and what a target names."""
    shim = _SHIM if _SHIM[0] in own else ()
    return {name: own[name] for name in (*HANDED_ON, *shim, *named) if name in own}
