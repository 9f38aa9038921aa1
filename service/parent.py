"""A child's half of the bargain: what it finds of what its gateway handed it, and to end when that has ended."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Final

PARENT_PIPE: Final = "SONIA_PARENT_PIPE"
KEYS_PIPE: Final = "SONIA_KEYS_PIPE"
RESERVED: Final = "SONIA_PORT_RESERVED"
_PR_SET_PDEATHSIG: Final = 1
GRACE_S: Final = 10.0


def handed_keys(environ: Mapping[str, str]) -> bytes | None:
    """The keys that a gateway handed to this process, which takes them out of their pipe; None when it handed none.

    Raises OSError and ValueError when there is no such pipe.
    """
    descriptor = environ.get(KEYS_PIPE)
    if descriptor is None:
        return None
    with os.fdopen(int(descriptor), "rb") as pipe:
        return pipe.read()


def is_port_reserved(environ: Mapping[str, str]) -> bool:
    """Whether a gateway holds this process's port for it."""
    return environ.get(RESERVED) == "1"


def end_with_parent(environ: Mapping[str, str]) -> None:
    """When a gateway started this process, see to it that this process does not outlive it.

    The first sign of its end brings SIGTERM, so that what is in flight is finished; what still runs
    after a grace period is ended the hard way.
    """
    descriptor = environ.get(PARENT_PIPE)
    if descriptor is None:
        return
    import ctypes  # noqa: PLC0415 - a process without a parent does without

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_await_end, args=(int(descriptor),), name="parent", daemon=True).start()


def _await_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)
