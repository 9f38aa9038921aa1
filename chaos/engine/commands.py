"""A command as it is written, and as the list of arguments that is run."""

import shlex
from collections.abc import Sequence
from typing import Final

from chaos.errors import HarnessError
from chaos.spec.variables import Variables

TOLD_CHARACTERS: Final = 500


def problem(command: str) -> str | None:
    """Why this is no command, whatever its variables hold, or None."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"{command!r} is no command: {error}"
    if not words or not words[0]:
        return f"{command!r} is no command: it names no program"
    return f"{command!r} is no command: it has a zero byte" if "\0" in command else None


def argv(command: str, variables: Variables) -> list[str]:
    """Its arguments; what a variable holds never becomes two of them. HarnessError when it is no command."""
    wrong = problem(command)
    if wrong is not None:
        raise HarnessError(wrong)
    filled = [variables.text(word) for word in shlex.split(command)]
    if not filled[0] or any("\0" in word for word in filled):
        raise HarnessError(f"{command!r} is no command: its variables make {filled!r} of it")
    return filled


def told(argv: Sequence[str]) -> str:
    """A command as it was run, to be typed into a shell; a long one is cut."""
    text = shlex.join(argv)
    return text if len(text) <= TOLD_CHARACTERS else f"{text[:TOLD_CHARACTERS]}…"
