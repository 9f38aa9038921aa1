"""`python -m gates incident`: what bundles of incidents tell, by SQL that anybody can read."""

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from rich.console import Console

from chaos.errors import HarnessError
from gates.commands.shared import Act, CommandParser, Commands, add_command, positive
from gates.formats.printing import SafeConsole
from gates.html import incident as page
from gates.html.words import counted
from gates.incidents.analysis import (
    Analysis,
    Answer,
    Bundles,
    Limits,
    analysing,
    raise_unaskable,
    statements,
)
from gates.incidents.bundle import open_bundle
from gates.incidents.forms import as_json, print_answers, print_near
from gates.incidents.gate import write_gate
from gates.incidents.packing import pack
from gates.incidents.questions import Question, chosen, read_questions
from gates.incidents.similar import nearest
from gates.incidents.tables import BASE
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.spec.project import read_project

EXAMPLES = """\
Questions are files of SQL, one SELECT each; the first line asks in words. Ours lie in gates/incidents/sql, yours where --sql
says. They read the tables requests, decisions, inputs, events, incidents, settings and versions, and those that compare also
base_requests and so on.

examples:
  python -m gates incident summary BUNDLE                              every question
  python -m gates incident summary BUNDLE --only stages --only actors  two of them
  python -m gates incident summary BUNDLE --sql questions              yours, too
  python -m gates incident summary BUNDLE --format parquet -o answers  a Parquet file for each answer
  python -m gates incident summary BUNDLE --format sql | duckdb        the same without us
  python -m gates incident timeline BUNDLE --format html -o page.html  a page with a picture
  python -m gates incident diff BEFORE BUNDLE                          where two of them part
  python -m gates incident similar BUNDLE --library incidents          which of those in a directory went alike
  python -m gates incident gate BUNDLE                                 a gate that replays it, below specs/incidents
  python -m gates incident pack BUNDLE -o PACKED                       the same bundle in Parquet

exit codes:
  0  answered; with diff: no request decided otherwise
  1  diff: some did
  3  a question is wrong
  4  a bundle cannot be read
"""
TIMELINE: Final = ("modes", "breaches", "changes", "queues", "seconds")
TIMELINE_ALONE: Final = ("queues", "seconds")
"""Have more rows than a summary should."""
TABLE, HTML, PARQUET, SQL = "table", "html", "parquet", "sql"
LIMITS: Final = Limits()
DUCKDB, SPARK = "duckdb", "spark"
MOST: Final = {TABLE: 20, HTML: 500}
"""Rows of each answer that are shown where nobody says how many."""


def add(commands: Commands) -> None:
    """Add the command and what it can do."""
    command = add_command(commands, "incident", _help, "what bundles of incidents tell", EXAMPLES)
    command.set_defaults(print_help=command.format_help)
    parts = command.add_subparsers(metavar="WHAT", parser_class=CommandParser)
    summary = _add(parts, "summary", _summary, "every question about a bundle, or about several")
    summary.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    timeline = _add(parts, "timeline", _timeline, "what happened when")
    timeline.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    diff = _add(parts, "diff", _diff, "where a bundle parts from another one")
    diff.add_argument("base", type=Path, metavar="BASE", help="the bundle to compare with")
    diff.add_argument("bundles", nargs=1, type=Path, metavar="BUNDLE")
    similar = add_command(parts, "similar", _similar, "incidents of a library that went alike")
    similar.add_argument("bundle", type=Path, metavar="BUNDLE")
    similar.add_argument(
        "--library", type=Path, required=True, metavar="DIR", help="a directory of bundles"
    )
    similar.add_argument("--most", type=positive, default=5, metavar="N", help="default: 5")
    similar.add_argument("--format", choices=(TABLE, "json"), default=TABLE)
    _add_limits(similar)
    gate = add_command(parts, "gate", _gate, "a gate that replays the bundle, proven as it comes")
    gate.add_argument("bundle", type=Path, metavar="BUNDLE")
    gate.add_argument(
        "--into",
        type=Path,
        default=Path("specs/incidents"),
        metavar="DIR",
        help="a directory of specs of its own, in the project (default: specs/incidents)",
    )
    _add_limits(gate)
    pack = add_command(parts, "pack", _pack, "the same bundle in Parquet, which is asked faster")
    pack.add_argument("bundle", type=Path, metavar="BUNDLE")
    pack.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="DIR", help="a new one"
    )
    _add_limits(pack)


def _add(parts: Commands, name: str, act: Act, help_text: str) -> argparse.ArgumentParser:
    """One thing to do with bundles, and the arguments that all of them take."""
    part = add_command(parts, name, act, help_text, EXAMPLES)
    part.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="QUESTION",
        help="this one; as often as wanted",
    )
    part.add_argument(
        "--sql",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        help="a directory of questions beside ours; one that is named like ours takes its place",
    )
    part.add_argument(
        "--format",
        choices=(TABLE, "json", HTML, PARQUET, SQL),
        default=TABLE,
        help=f"default: {TABLE}; {SQL}: the questions, and the views that they read, for DuckDB's own prompt",
    )
    part.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write there; parquet: a directory"
    )
    part.add_argument(
        "--rows",
        type=_count,
        metavar="N",
        help=f"rows of each answer, 0 for all (default: {MOST[TABLE]} in a table, {MOST[HTML]} on a page, otherwise all)",
    )
    part.add_argument(
        "--engine",
        choices=(DUCKDB, SPARK),
        default=DUCKDB,
        help=f"{SPARK}: the same questions translated, in a local Spark; needs the extra `spark` and Java",
    )
    _add_limits(part)
    return part


def _add_limits(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--memory",
        default=LIMITS.memory,
        metavar="SIZE",
        help=f"what is more is spilled (default: {LIMITS.memory})",
    )
    part.add_argument(
        "--threads", type=positive, default=LIMITS.threads, metavar="N", help="default: all cores"
    )
    part.add_argument(
        "--spill", type=Path, default=LIMITS.spill, metavar="DIR", help=f"default: {LIMITS.spill}"
    )


def _gate(arguments: argparse.Namespace, console: Console) -> int:
    """Write a gate of a bundle, and say how it is run; what is there already must be sound."""
    directory = arguments.into
    directory.mkdir(parents=True, exist_ok=True)
    project = read_project(directory)
    project.raise_problems()
    path = write_gate(open_bundle(arguments.bundle), directory, project, _limits(arguments))
    run = f"python -m gates run {path.stem} --prove --specs {directory}"
    console.print(f"wrote {path}\n  {run}", markup=False)
    return EXIT_PROMOTE


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(arguments.memory, arguments.threads, arguments.spill)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, not {text!r}")
    return int(text)


def _help(arguments: argparse.Namespace, console: Console) -> int:
    console.out(arguments.print_help(), highlight=False)
    return EXIT_PROMOTE


def _summary(arguments: argparse.Namespace, console: Console) -> int:
    questions = _questions(arguments)
    if not arguments.only:
        questions = [question for question in questions if question.name not in TIMELINE_ALONE]
    return _answer(arguments, console, questions, {"": arguments.bundles})


def _timeline(arguments: argparse.Namespace, console: Console) -> int:
    arguments.only = arguments.only or TIMELINE
    return _answer(arguments, console, _questions(arguments), {"": arguments.bundles})


def _diff(arguments: argparse.Namespace, console: Console) -> int:
    questions = _questions(arguments, compares=True)
    given = {BASE: [arguments.base], "": arguments.bundles}
    return _answer(arguments, console, questions, given)


def _similar(arguments: argparse.Namespace, console: Console) -> int:
    """List what is nearest; says of the library what could not be read."""
    bundle = open_bundle(arguments.bundle)
    found = nearest(bundle, arguments.library, arguments.most, _limits(arguments))
    if arguments.format == "json":
        _write(None, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n", console)
        return EXIT_PROMOTE
    print_near(found, console)
    return EXIT_PROMOTE


def _pack(arguments: argparse.Namespace, console: Console) -> int:
    pack(open_bundle(arguments.bundle), arguments.output, _limits(arguments))
    console.print(f"wrote {arguments.output}", markup=False)
    return EXIT_PROMOTE


def _questions(arguments: argparse.Namespace, *, compares: bool = False) -> list[Question]:
    return chosen(read_questions(arguments.sql), arguments.only, compares=compares)


class _Parted(Struct, frozen=True):
    """How many requests are in both bundles, and how many of them decided otherwise."""

    both: int
    otherwise: int


class _Found(Struct, frozen=True):
    """What there is to show."""

    bundles: Bundles
    answers: Sequence[Answer]
    pictures: Sequence[page.Picture]
    parted: _Parted | None


def _answer(
    arguments: argparse.Namespace,
    console: Console,
    questions: Sequence[Question],
    given: Mapping[str, Sequence[Path]],
) -> int:
    """Answer in the form that was asked for; the exit code says whether what was compared differs."""
    bundles = {prefix: [open_bundle(path) for path in paths] for prefix, paths in given.items()}
    _raise_twice(bundles)
    if arguments.format == SQL:
        _write(arguments.output, _sql(bundles, questions).encode(), console)
        return EXIT_PROMOTE
    most = MOST.get(arguments.format) if arguments.rows is None else arguments.rows or None
    if arguments.engine == SPARK:
        return _answer_by_spark(arguments, console, questions, bundles, most)
    also = _reads_beside(arguments.format, bundles)
    with analysing(bundles, questions, _limits(arguments), also) as analysis:
        parted = _parted(analysis) if BASE in bundles else None
        if arguments.format == PARQUET:
            _write_parquet(arguments.output, analysis, questions, console)
            answers = []
        else:
            answers = [analysis.ask(question, most) for question in questions]
        pictures = page.pictures(analysis, bundles) if arguments.format == HTML else []
    if arguments.format != PARQUET:
        _show(arguments, console, _Found(bundles, answers, pictures, parted))
    return EXIT_FAILED if parted is not None and parted.otherwise else EXIT_PROMOTE


def _answer_by_spark(
    arguments: argparse.Namespace,
    console: Console,
    questions: Sequence[Question],
    bundles: Bundles,
    most: int | None,
) -> int:
    """The same from Spark, as tables or JSON; what differs is left to the reader."""
    if arguments.format not in {TABLE, "json"}:
        raise HarnessError(f"Spark answers as {TABLE} or json, not as {arguments.format}")
    try:
        from gates.incidents import spark  # noqa: PLC0415 - is only there where its extra is
    except ImportError as error:
        raise HarnessError(
            f"{error.name} is missing: Spark needs the extra `spark` of this project, and Java"
        ) from None
    raise_unaskable(questions)
    with spark.asking(bundles, questions, arguments.threads) as asked:
        answers = [asked.ask(question, most) for question in questions]
    _show(arguments, console, _Found(bundles, answers, (), None))
    return EXIT_PROMOTE


def _raise_twice(bundles: Bundles) -> None:
    for own in bundles.values():
        names = [bundle.name for bundle in own]
        for name in names:
            if names.count(name) > 1:
                raise HarnessError(
                    f"the incident {name} was given twice: it would be counted twice"
                )


def _reads_beside(form: str, bundles: Bundles) -> Iterator[str]:
    """What is read beside the questions: for pictures, and for the comparison."""
    for prefix in bundles:
        if form == HTML:
            yield from (prefix + table for table in page.NEEDS)
        if BASE in bundles:
            yield f"{prefix}requests"


def _parted(analysis: Analysis) -> _Parted:
    ((both, otherwise),) = analysis.rows(
        "SELECT count(*), count(*) FILTER (WHERE r.trace_class <> b.trace_class)"
        " FROM requests AS r JOIN base_requests AS b ON b.request_id = r.request_id"
    )
    return _Parted(int(str(both)), int(str(otherwise)))


def _sql(bundles: Bundles, questions: Sequence[Question]) -> str:
    views = "".join(f"{statement};\n" for statement in statements(bundles, questions))
    asked = "\n".join(f"{question.sql.strip().rstrip(';')}\n;\n" for question in questions)
    return f"{views}\n{asked}"


def _write_parquet(
    directory: Path | None, analysis: Analysis, questions: Sequence[Question], console: Console
) -> None:
    if directory is None:
        raise HarnessError("Parquet is written into a directory: name one with -o")
    analysis.raise_forged()
    directory.mkdir(parents=True, exist_ok=True)
    for question in questions:
        path = directory / f"{question.name}.parquet"
        answer = analysis.write(question, path)
        console.print(f"wrote {path}: {counted(answer.total, 'row')}", markup=False)


def _show(arguments: argparse.Namespace, console: Console, found: _Found) -> None:
    if arguments.format == TABLE and arguments.output is None:
        _print(found, console)
    else:
        _write(arguments.output, _FORMS[arguments.format](found), console)


def _print(found: _Found, console: Console) -> None:
    print_answers(found.answers, console)
    if found.parted is not None:
        both, otherwise = found.parted.both, found.parted.otherwise
        told = f"{counted(otherwise, 'request')} of {both:,} in both bundles decided otherwise"
        console.print(f"\n{told}" if both else "\nno request is in both bundles", markup=False)


def _text(found: _Found) -> bytes:
    plain = io.StringIO()
    _print(found, SafeConsole(file=plain, width=200, soft_wrap=True))
    return plain.getvalue().encode()


def _json(found: _Found) -> bytes:
    return as_json([bundle for own in found.bundles.values() for bundle in own], found.answers)


def _html(found: _Found) -> bytes:
    names = [", ".join(bundle.name for bundle in own) for own in found.bundles.values()]
    return page.render(" and ".join(names), found.bundles, found.pictures, found.answers).encode()


_FORMS: Final[Mapping[str, Callable[[_Found], bytes]]] = {
    TABLE: _text,
    "json": _json,
    HTML: _html,
}


def _write(path: Path | None, content: bytes, console: Console) -> None:
    if path is not None:
        path.write_bytes(content)
        console.print(f"wrote {path}", markup=False)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
