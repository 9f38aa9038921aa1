"""The command line: `python -m gates …`, one module per command, listed in COMMANDS."""

import argparse
import asyncio
import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from chaos.errors import ChaosError, SpecError, told
from gates.commands.shared import CommandParser
from gates.formats.console import counted_problems
from gates.formats.printing import SafeConsole
from gates.release.report import EXIT_BROKEN, EXIT_MEANING, EXIT_SPEC
from gates.run.interrupts import heed_sigterm

COMMANDS: Final = {
    "run": "gates.commands.run",
    "prove": "gates.commands.prove",
    "mutants": "gates.commands.mutants",
    "baseline": "gates.commands.baseline",
    "lint": "gates.commands.lint",
    "schema": "gates.commands.schema",
    "explain": "gates.commands.explain",
    "list": "gates.commands.listing",
    "new": "gates.commands.new",
    "judge": "gates.commands.judge",
    "report": "gates.commands.report",
    "verify": "gates.commands.verify",
    "diff": "gates.commands.diff",
    "incident": "gates.commands.incident",
    "keygen": "gates.commands.keygen",
    "sign": "gates.commands.sign",
}
"""Every command, and its module, of which only that of the one that is asked for is imported."""

EXAMPLES = """\
examples:
  python -m gates run                        all gates; writes releases/<version>/ and says PROMOTE or HOLD
  python -m gates run C4 key-rotation        some, by id or name; writes below runs/ and decides no release
  python -m gates run A3 --repeat 20         is it stable? twenty runs, their verdicts and durations
  python -m gates lint                       every problem of every spec, with file, line and column
  python -m gates explain A3                 what a gate claims and what turns it red; --full for its steps and SQL
  python -m gates run --prove --key KEY      all gates with their proofs, signed: what a release needs
  python -m gates judge releases/v4.6.0      the same verdicts again, from the evidence alone
  python -m gates verify releases/v4.6.0     that, and every file, proof and signature
  python -m gates incident summary BUNDLE    what a bundle of an incident tells
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code and explains every error in a few lines."""
    options = parser(_named(arguments)).parse_args(arguments)
    console = SafeConsole(highlight=False, soft_wrap=True)
    try:
        return int(options.act(options, console))
    except SpecError as error:
        console.print(str(error), markup=False)
        console.print(
            f"{counted_problems(error.problems)} in the specs; nothing was run",
            markup=False,
        )
        return EXIT_SPEC
    except ChaosError as error:
        console.print(f"error: {error}", markup=False)
        return EXIT_BROKEN
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted: what was not finished is UNKNOWN")
        return EXIT_BROKEN
    except BrokenPipeError:
        return EXIT_BROKEN
    except OSError as error:
        console.print(f"error: {told(error)}", markup=False)
        return EXIT_BROKEN


def run_and_leave(arguments: Sequence[str]) -> NoReturn:
    """Run one command and end the process with its exit code.

    An interpreter that winds down beside the threads of DuckDB is sometimes aborted by them, and the exit code
    would be that of the abort. All is written by then, and every process has ended.
    """
    heed_sigterm()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where the locale knows no other characters than ASCII, the rest is told as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        exit_code = main(arguments)
    except Exception:  # noqa: BLE001 - Python's own exit code of a crash, 1, would say that a gate failed
        traceback.print_exc()
        exit_code = EXIT_BROKEN
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_code)


def _named(arguments: Sequence[str]) -> str | None:
    """The command that is asked for; None where it does not stand first, and all are needed to tell what is meant."""
    return arguments[0] if arguments and arguments[0] in COMMANDS else None


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of the whole command line, or of one command alone."""
    codes = "exit codes:\n" + "\n".join(
        f"  {code}  {meaning}" for code, meaning in EXIT_MEANING.items()
    )
    top = argparse.ArgumentParser(
        prog="python -m gates",
        description="Decides whether a release may ship: runs its gates against the real system and judges the evidence.",
        epilog=EXAMPLES + "\n" + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--specs",
        type=Path,
        default=Path("specs"),
        metavar="DIR",
        help="directory of the specs (default: specs)",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    for module in [COMMANDS[name]] if name else COMMANDS.values():
        importlib.import_module(module).add(commands)
    return top
