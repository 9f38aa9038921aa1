"""What the commands share: how they are added, and the arguments that several of them take."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from rich.console import Console

from gates.prove.kept import FOLDER
from gates.run.session import Options, default_workers
from gates.run.store import Store

Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"  # noqa: SLF001 - argparse gives it no other name
Act: TypeAlias = Callable[[argparse.Namespace, Console], int]


class CommandParser(argparse.ArgumentParser):
    """A command's own help keeps the line breaks of its examples; `--specs` may stand behind it too."""

    def __init__(self, *, prog: str, description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument(
            "--specs",
            type=Path,
            default=argparse.SUPPRESS,
            metavar="DIR",
            help="directory of the specs (default: specs)",
        )


def add_command(
    commands: Commands, name: str, act: Act, help_text: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add the command `name`, with `epilog` under its help."""
    command = commands.add_parser(
        name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.", epilog=epilog
    )
    command.set_defaults(act=act)
    return command


def add_choice(parser: argparse.ArgumentParser) -> None:
    """What all commands take that run the gates one chooses."""
    parser.add_argument(
        "only", nargs="*", metavar="GATE", help="ids or names; all gates when there is none"
    )
    add_running(parser)


def add_running(parser: argparse.ArgumentParser) -> None:
    """What all commands that run gates take."""
    parser.add_argument(
        "--seed", type=int, default=46, help="seed of everything drawn (default: 46)"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=default_workers(),
        metavar="N",
        help="gates at the same time",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where sessions record (default: runs)"
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--proofs",
        type=Path,
        default=None,
        metavar="DIR",
        help="where trials of proofs are kept (default: proofs below --runs)",
    )


def add_releases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--releases",
        type=Path,
        default=Path("releases"),
        help="where a full run's release goes (default: releases)",
    )


def trial_options_of(arguments: argparse.Namespace) -> Options:
    """The same of a command that runs gates only in edited copies: which ones, the seed, the workers."""
    return Options(
        specs=str(arguments.specs.resolve()),
        only=tuple(arguments.only),
        seed=arguments.seed,
        workers=arguments.workers,
    )


def store_of(arguments: argparse.Namespace) -> Store:
    """Where trials are kept: below the runs, unless another directory was asked for."""
    return Store((arguments.proofs or arguments.runs / FOLDER).resolve())


def positive(text: str) -> int:
    """Read a number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, not {text!r}")
    return value
