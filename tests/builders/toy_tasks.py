"""Tasks that need no gate: whatever a test wants of a worker."""

import os
from pathlib import Path
from typing import Literal

from msgspec import Struct

from chaos.errors import HarnessError
from gates.run.bench import Bench, Said, Task


class Came(Struct, frozen=True):
    """What came of a toy: in which process it was done, and what is of no kind that is known."""

    number: int
    process: int
    whatever: tuple[object, ...] = ("text", 1, None)


class Toy(Task[Came], frozen=True, kw_only=True):
    """Leaves its number in a folder, and ends as it is told to."""

    gives = Came
    number: int
    folder: Path
    ends: Literal["well", "no success", "broken", "crash", "death", "interrupt"] = "well"

    def do(self, bench: Bench) -> Came:
        """Leave its number behind."""
        (self.folder / str(self.number)).touch()
        if self.ends == "broken":
            raise HarnessError("it cannot be done\nat all")
        if self.ends == "crash":
            raise ValueError("nobody thought of that")
        if self.ends == "death":
            os._exit(1)
        if self.ends == "interrupt":
            raise KeyboardInterrupt
        return Came(self.number, os.getpid())

    def said(self, result: Came) -> Said:
        """Its number."""
        return Said("done", f"{self.label} is {result.number}", tries=min(self.number, 1))

    def failure(self, result: Came) -> str | None:
        """What it was told."""
        return f"{result.number} is none" if self.ends == "no success" else None
