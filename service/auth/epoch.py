"""The token epoch: how another process tells the gateway that tokens have changed."""

import mmap
import os
from pathlib import Path
from typing import Final

_EPOCH_BYTES: Final = 8
_EPOCHS: Final = 1 << (8 * _EPOCH_BYTES)


class EpochFile:
    """A counter in a file: moved by whoever changes tokens from outside the gateway.

    It is mapped into memory, because it is looked at on every request: `count[0]` is the counter,
    and an equal counter means that nothing was changed.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != _EPOCH_BYTES:
                os.ftruncate(descriptor, _EPOCH_BYTES)
            self.count = memoryview(mmap.mmap(descriptor, _EPOCH_BYTES)).cast("Q")
        finally:
            os.close(descriptor)

    def bump(self) -> None:
        """Move the counter. The change must be committed before."""
        self.count[0] = (self.count[0] + 1) % _EPOCHS
