"""The `sonia` command: one module per sub-command, listed in COMMANDS."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from service import SONIA_CONTRACT, SONIA_VERSION
from service.cli import (
    audit,
    backup,
    contract,
    doctor,
    incident,
    init,
    keys,
    migrate,
    replay,
    restore,
    routes,
    run,
    sign,
    token,
    up,
)
from service.cli.shared import Parser
from service.errors import AS_OWNER, EXIT_REFUSED, ProblemError, SoniaError, StartRefused

COMMANDS: Final = (
    init,
    up,
    run,
    token,
    audit,
    routes,
    contract,
    doctor,
    sign,
    keys,
    backup,
    restore,
    migrate,
    incident,
    replay,
)
DEFAULT_STATE: Final = "sonia-state"


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    top = Parser(prog="sonia", description="SONIA's operator boundary.")
    version = f"sonia {SONIA_VERSION} (contract {SONIA_CONTRACT})"
    top.add_argument("--version", action="version", version=version)
    common = Parser(add_help=False)
    common.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get("SONIA_STATE", DEFAULT_STATE)),
        metavar="DIR",
        help=f"state directory (default: $SONIA_STATE, else ./{DEFAULT_STATE})",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands, common)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 78 for a refused start, 1 for any other error."""
    options = parser().parse_args(arguments)
    # Whatever a command writes into the state directory is nobody else's business.
    os.umask(0o077)
    try:
        return int(options.act(options))
    except StartRefused as refused:
        sys.stderr.write(f"refused to start: {_one_line(refused)}\n")
        return EXIT_REFUSED
    except ProblemError as problem:
        sys.stderr.write(f"error: {problem.detail}\n")
        return 1
    except SoniaError as error:
        sys.stderr.write(f"error: {_one_line(error)}\n")
        return 1
    except PermissionError as denied:
        sys.stderr.write(f"refused to start: {_one_line(denied)}; {AS_OWNER}\n")
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return 130


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
