"""Every bound on what a spec may ask for, and on what is read of an answer, in one table.

What is beyond one is a problem of the spec, with its place, where it can be known without running anything; otherwise
what is too much is cut, or the step ends in an error, and either is said. `chaos.spec.bounds` has those that a
release may raise.
"""

from typing import Final

EXPONENT: Final = 308
"""Of a number, either way: what a double can hold."""
DIGITS: Final = 1_000
"""Of a number, its exponent left out."""

NAME_CHARS: Final = 120
"""Of what is a name: it becomes part of paths, of lines in a log and of columns."""
TITLE_CHARS: Final = 400
"""Of what is told in one line."""

LONGEST_H: Final = 24
"""Any length of time."""
FARTHEST_H: Final = 24 * 366 * 100
"""How far a clock may be off."""

SPEC_BYTES: Final = 256 * 1024
"""Of a spec. Reading what is larger would take a minute, and nobody writes that by hand."""
SPEC_VALUES: Final = 50_000
"""In a spec, what aliases stand for included."""
SPEC_DEPTH: Final = 60
"""How deep a spec is nested."""

ITERATIONS: Final = 20_000
"""Passes of all `repeat` of a gate together."""
GATE: Final = "120s"
"""From the start of its target to the end of a gate's last step; what it waits to be alone is left out."""
OUTPUT: Final = "4MB"
"""Kept of a command's output and of its errors, together, and of what a process of the target writes."""

BODY_BYTES: Final = 1_000_000
"""Kept of an answer's body."""
REQUESTS: Final = 1_000_000
"""Of one load: evidence must stay readable."""
CONNECTIONS: Final = 4096
"""Of one load at the same time."""
FRAMES: Final = 100_000
"""That one step sends into a stream."""
FRAME_BYTES: Final = 64_000_000
"""Of a frame of a WebSocket; what is larger ends the stream."""
FILE_BYTES: Final = 64_000_000
"""Of a file that a step or a target names, read as a whole."""
STATE_FILE_BYTES: Final = 2_000_000_000
"""Of a file that the target leaves, which is looked through for secrets."""
COLLECTED_BYTES: Final = 256_000_000
"""Of a file of JSON lines that becomes evidence."""
ROWS: Final = 1_000_000
"""That one query of a target's database gives."""
SQL_S: Final = 20.0
"""That one statement on a target's database takes."""


def require_number(text: str) -> None:
    """ValueError for a decimal number, as it is written, that no exact arithmetic would come to an end with."""
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > DIGITS or len(exponent) > DIGITS:
        raise ValueError(f"a number of {len(text)} characters is longer than {DIGITS}")
    if abs(int(exponent or 0)) > EXPONENT:
        raise ValueError(f"an exponent lies between -{EXPONENT} and {EXPONENT}, unlike {exponent}")
