"""What the sub-commands share: their signature, their help and how they print."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import msgspec

from service.errors import InUse, SoniaError
from service.state import StateDir

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse gives it no other name
WIDTH: Final = 78
Act = Callable[[argparse.Namespace], int]
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Parser(argparse.ArgumentParser):
    """A parser whose help has lines of WIDTH characters, and keeps those of descriptions and epilogs.

    argparse asks for the terminal's width at every argument that is added, and imports all of `shutil` for that: a
    tenth of a short command.
    """

    def _get_formatter(self) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(self.prog, width=WIDTH)


def add_command(
    commands: Commands,
    common: argparse.ArgumentParser,
    name: str,
    act: Act,
    help_text: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Add the sub-command `name`, with `examples` under its help."""
    command = commands.add_parser(
        name,
        help=help_text,
        description=help_text,
        parents=[common],
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()),
    )
    command.set_defaults(act=act)
    return command


@contextmanager
def locked(state: StateDir, create: bool = True) -> Iterator[None]:
    """Keep every gateway off a state directory meanwhile. Raises SoniaError when one runs."""
    try:
        lock = state.lock(create)
    except InUse as running:
        raise SoniaError(str(running)) from running
    try:
        yield
    finally:
        state.unlock(lock)


def duration_ms(text: str) -> int:
    """Read `500ms`, `30s`, `5m`, `1h` or `7d` as milliseconds."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 500ms, 30s, 5m or 1h")
    return round(float(found[1]) * _UNITS_MS[found[2]])


def print_json(value: object) -> None:
    """Print `value` as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_line(text: str) -> None:
    """Print one line for a person."""
    sys.stdout.write(text + "\n")
