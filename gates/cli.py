"""The command line: `python -m gates …`."""

import argparse
import asyncio
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from chaos.errors import ChaosError, SpecError
from gates.commands import mutants as mutation
from gates.commands import releases as bundle
from gates.commands import runs as commands
from gates.commands.baseline import BASELINE_EXAMPLES, baseline
from gates.commands.prove import prove
from gates.commands.report import DEFAULT, FORMATS, report
from gates.formats.console import counted_problems
from gates.formats.printing import SafeConsole
from gates.mutants.by_gates import ByGates
from gates.mutants.by_tests import ByTests
from gates.release.report import EXIT_BROKEN, EXIT_MEANING, EXIT_SPEC
from gates.run.interrupts import heed_sigterm
from gates.run.session import default_workers

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
"""
PROVE_EXAMPLES = """\
Every defect in `falsified_by` is applied to a copy of the source, and must turn exactly its assertions red;
of faults there is a sham, the same window with nothing injected, and something must fail then. Trials are kept until an input changes: an interrupted
proof goes on where it stopped, and `run` takes them up and ships them with the release.

examples:
  python -m gates prove                      all gates
  python -m gates prove A3                   one gate
  python -m gates prove A3 --again           all of its trials anew
"""
REPORT_EXAMPLES = """\
The exit code is that of the run which the report is about.

examples:
  python -m gates report releases/v4.6.0                                   as the run printed it
  python -m gates report releases/v4.6.0 --format html -o page.html        one file to read and to send
  python -m gates report releases/v4.6.0 --format markdown >> "$GITHUB_STEP_SUMMARY"
  python -m gates report releases/v4.6.0 --format github                   annotations at the lines of the specs
  python -m gates report releases/v4.6.0 --format sarif -o gates.sarif     for code scanning
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code and explains every error in a few lines."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = SafeConsole(highlight=False, soft_wrap=True)
    command: Callable[[argparse.Namespace, Console], int] = COMMANDS[options.command]
    try:
        return command(options, console)
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
        console.print(f"error: {error}", markup=False)
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


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Console], int]] = {
    "run": bundle.run,
    "prove": prove,
    "mutants": mutation.mutants,
    "lint": commands.lint,
    "schema": commands.schema,
    "explain": commands.explain,
    "list": commands.list_gates,
    "new": commands.new,
    "judge": commands.judge,
    "report": report,
    "verify": bundle.verify_command,
    "diff": bundle.diff_command,
    "keygen": bundle.keygen,
    "sign": bundle.sign_command,
    "baseline": baseline,
}


class _CommandParser(argparse.ArgumentParser):
    """A command's own help keeps the line breaks of its examples; `--specs` may stand behind it too."""

    def __init__(self, *, prog: str, help: str = "") -> None:  # noqa: A002 - argparse's own name
        super().__init__(
            prog=prog, description=help, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self.add_argument(
            "--specs",
            type=Path,
            default=argparse.SUPPRESS,
            metavar="DIR",
            help="directory of the specs (default: specs)",
        )


def _parser() -> argparse.ArgumentParser:
    codes = "exit codes:\n" + "\n".join(
        f"  {code}  {meaning}" for code, meaning in EXIT_MEANING.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m gates",
        description="Decides whether a release may ship: runs its gates against the real system and judges the evidence.",
        epilog=EXAMPLES + "\n" + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--specs",
        type=Path,
        default=Path("specs"),
        metavar="DIR",
        help="directory of the specs (default: specs)",
    )
    verbs = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    _add_run(verbs.add_parser("run", help="run gates, write the report, say the verdict"))
    _add_prove(
        verbs.add_parser("prove", help="show that gates can fail: run their defects and shams")
    )
    _add_mutants(
        verbs.add_parser(
            "mutants", help="how many small changes of the system its gates notice, or its tests"
        )
    )
    _add_baseline(verbs.add_parser("baseline", help="run all gates against the system as it was"))
    lint = verbs.add_parser("lint", help="check every spec without running anything")
    lint.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="only problems in these files"
    )
    schema = verbs.add_parser("schema", help="write the JSON Schemas of all specs")
    schema.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if one is out of date"
    )
    explain = verbs.add_parser(
        "explain", help="a gate in prose: what it claims and what turns it red"
    )
    explain.add_argument("gate", help="id or name")
    explain.add_argument("--full", action="store_true", help="all of it, with steps and SQL")
    listed = verbs.add_parser("list", help="all gates of the release, and which of them exist")
    which = listed.add_mutually_exclusive_group()
    which.add_argument("--missing", action="store_true", help="only those that do not exist yet")
    which.add_argument(
        "--slow", action="store_true", help="what each took when it last ran, the slowest first"
    )
    listed.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where sessions record (default: runs)"
    )
    new = verbs.add_parser("new", help="write a commented skeleton")
    new.add_argument("what", choices=["gate"])
    new.add_argument("name", help="its name; the file is named like it")
    judge = verbs.add_parser("judge", help="verdicts again, from the evidence alone")
    judge.add_argument("release", type=Path, metavar="RELEASE_DIR")
    _add_report(verbs.add_parser("report", help="the report of a release, in one of several forms"))
    _add_verify(
        verbs.add_parser("verify", help="whether a release is what it says, from its files")
    )
    _add_diff(verbs.add_parser("diff", help="what changed between two reports"))
    keygen = verbs.add_parser("keygen", help="a key pair to sign releases with")
    keygen.add_argument("file", type=Path, metavar="FILE", help="the private key; FILE.pub as well")
    sign = verbs.add_parser("sign", help="sign a release that is consistent")
    sign.add_argument("release", type=Path, metavar="RELEASE_DIR")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="a private key")
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """What all commands take that run the gates one chooses."""
    parser.add_argument(
        "only", nargs="*", metavar="GATE", help="ids or names; all gates when there is none"
    )
    _add_running(parser)


def _add_running(parser: argparse.ArgumentParser) -> None:
    """What all commands that run gates take."""
    parser.add_argument(
        "--seed", type=int, default=46, help="seed of everything drawn (default: 46)"
    )
    parser.add_argument(
        "--workers",
        type=_positive,
        default=default_workers(),
        metavar="N",
        help="gates at the same time",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where sessions record (default: runs)"
    )


def _add_prove(parser: argparse.ArgumentParser) -> None:
    parser.epilog = PROVE_EXAMPLES
    _add_choice(parser)
    parser.add_argument("--again", action="store_true", help="make all trials anew")
    _add_store(parser)


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--proofs",
        type=Path,
        default=None,
        metavar="DIR",
        help="where trials of proofs are kept (default: proofs below --runs)",
    )


def _add_mutants(parser: argparse.ArgumentParser) -> None:
    parser.epilog = mutation.EXAMPLES
    _add_choice(parser)
    parser.add_argument(
        "--tests",
        type=Path,
        nargs="*",
        default=None,
        metavar="PATH",
        help="ask tests about what no gate guards (default: those in the folder of `tests` that is called like the source)",
    )
    parser.add_argument(
        "--sample",
        type=_positive,
        default=None,
        metavar="N",
        help=f"run N of each (default: {ByGates.enough} of a gate, {ByTests.enough} of the tests)",
    )
    parser.add_argument(
        "--file",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="only in these modules, from the project's root",
    )
    parser.add_argument(
        "--least",
        type=_share,
        default=None,
        metavar="SHARE",
        help="exit 1 when fewer of any are killed, equivalents left out"
        f" (default: {ByGates.least} of a gate, {ByTests.least} of the tests)",
    )
    parser.add_argument("--list", action="store_true", help="only say which would be run")
    parser.add_argument("--no-cache", action="store_true", help="run everything again")
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write the JSON there, too"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    _add_choice(parser)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--floor-only", action="store_true", help="only the floor; never PROMOTE")
    part.add_argument("--delta-only", action="store_true", help="only the delta; never PROMOTE")
    parser.add_argument(
        "--repeat", type=_positive, default=1, metavar="N", help="run each gate N times"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the state directories and say where they are"
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="exit 0 when all that was run passed, though gates are missing; the report still says HOLD",
    )
    parser.add_argument(
        "--no-page",
        action="store_true",
        help="draw no gate-report.html; `report --format html` draws it later",
    )
    parser.add_argument(
        "-k", dest="expression", default=None, metavar="EXPR", help="pytest's -k, on ids and names"
    )
    parser.add_argument(
        "-x", dest="first", action="store_true", help="stop at the first gate that does not pass"
    )
    _add_releases(parser)
    parser.add_argument(
        "--ledger",
        type=Path,
        default=None,
        metavar="FILE",
        help="a ledger of attempts that outlives this machine, such as one on a share: what failed elsewhere counts"
        " (default: attempts.jsonl below --releases, which knows this machine only)",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="make the trials of proofs that are missing as well; without proofs a release holds",
    )
    _add_store(parser)
    parser.add_argument(
        "--key", type=Path, default=None, metavar="FILE", help="sign what is attested with this key"
    )


def _add_releases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--releases",
        type=Path,
        default=Path("releases"),
        help="where a full run's release goes (default: releases)",
    )


def _add_baseline(parser: argparse.ArgumentParser) -> None:
    parser.epilog = BASELINE_EXAMPLES
    _add_running(parser)
    _add_releases(parser)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.epilog = bundle.VERIFY_EXAMPLES + bundle.VERIFY_CODES
    parser.add_argument("release", type=Path, metavar="RELEASE_DIR")
    parser.add_argument("--commit", metavar="SHA", help="the commit it must be of, in full")
    parser.add_argument(
        "--policy", metavar="SHA256|FILE", help="the release.yaml it must be decided by"
    )
    parser.add_argument("--key", type=Path, metavar="PUBLIC", help="the key it must be signed by")
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="the ledger of attempts that it must rest on"
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.epilog = bundle.DIFF_EXAMPLES
    parser.add_argument("base", type=Path, metavar="BASE", help="a report, or a release directory")
    parser.add_argument("new", type=Path, metavar="NEW", help="another one")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.epilog = REPORT_EXAMPLES
    parser.add_argument("release", type=Path, metavar="RELEASE_DIR")
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default=DEFAULT, help=f"default: {DEFAULT}"
    )
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write there, not to the terminal"
    )
    parser.add_argument(
        "--base",
        type=Path,
        metavar="RELEASE_DIR",
        help="html: the release to compare with (default: the last one beside it)",
    )


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, not {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, not {text!r}")
    return value
