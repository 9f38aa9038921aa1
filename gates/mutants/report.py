"""`mutants.json`, and the same for a terminal."""

import math
from collections.abc import Iterator

from msgspec import Struct
from rich.console import Console

from gates.formats.console import counted
from gates.mutants.evaluate import Result, Tally

HEADS = ("killed", "survived", "timed out", "not viable", "unreached", "share", "w/o equiv.")


class MutantReport(Struct, frozen=True, kw_only=True):
    """What became of a session's mutants.

    `by` says whose business they were, `gates` or `tests`; `sample` how many were asked for of each killer. `killers`,
    `modules` and `operators` are tallies by gate (or of the tests), by file and by operator; `enough` says whether the
    share of each killer is `least`, equivalents left out. `stale` are entries of the reviewed list that match no
    mutation, `refuted` those that were killed.
    """

    by: str
    session: str
    commit: str | None
    dirty: bool
    seed: int
    sample: int
    files: list[str]
    least: float
    enough: bool
    total: Tally
    killers: dict[str, Tally]
    modules: dict[str, Tally]
    operators: dict[str, Tally]
    stale: list[str]
    refuted: list[str]
    mutants: list[Result]

    @property
    def overlooked(self) -> Iterator[Result]:
        """Mutants that their killer did not notice and no review explains."""
        return (result for result in self.mutants if result.overlooked)


def print_mutants(report: MutantReport, other: MutantReport | None, console: Console) -> None:
    """What was overlooked first, then the tallies, and last the share; beside it that of `other`, the last report of
    the other kind of killer."""
    for result in report.overlooked:
        _print_overlooked(result, console)
    for result in report.mutants:
        if result.outcome == "not viable":
            console.print(
                f"not viable: {name_of(result)}: {_first(result.finding.detail)}", markup=False
            )
    _print_tallies("killer", report.killers, console)
    _print_tallies("operator", report.operators, console)
    _print_tallies("module", report.modules, console)
    for entry in report.stale:
        console.print(f"stale in the list of equivalents: {entry}", markup=False)
    for entry in report.refuted:
        console.print(f"called equivalent, and killed all the same: {entry}", markup=False)
    console.print(f"\n{_summary(report)}", markup=False)
    if other is not None:
        at = f" at {other.commit[:9]}" if other.commit is not None else ""
        console.print(f"asked last{at}: {_summary(other)}", markup=False)
    short = [name for name, tally in report.killers.items() if not is_enough(tally, report.least)]
    console.print(
        f"at least {percent(report.least)} of each are asked for"
        + (f"; missed by {', '.join(short)}" if short else ""),
        style="bold red" if short else "green",
        markup=False,
    )


def is_enough(tally: Tally, least: float) -> bool:
    """Whether a killer noticed as many as are asked for, equivalents left out; of nothing that is not known."""
    share = tally.share_without_equivalent
    return share is not None and share >= least


def percent(share: float | None) -> str:
    """A share for people. It is cut off, not rounded: 85.0 % is never 84.96."""
    return "-" if share is None else f"{math.floor(share * 1000 + 1e-9) / 10:.1f} %"


def name_of(result: Result) -> str:
    """A mutant in a line."""
    return f"{result.killer} {result.file}:{result.line} {result.operator}"


def _summary(report: MutantReport) -> str:
    total = report.total
    return (
        f"{report.by}: {counted(len(report.mutants), 'mutant')} run, seed {report.seed}: {total.killed} killed,"
        f" {total.survived} survived ({total.equivalent} of them called equivalent), {total.timed_out} timed out,"
        f" {total.not_viable} not viable; {percent(total.share)} killed,"
        f" {percent(total.share_without_equivalent)} without equivalents; {total.unreached} more are unreached"
    )


def _first(text: str) -> str:
    return text.partition("\n")[0]


def _print_overlooked(result: Result, console: Console) -> None:
    console.print(f"\n{result.outcome}: {name_of(result)}", style="bold", markup=False)
    if result.finding.detail:
        console.print(f"  {_first(result.finding.detail)}", markup=False)
    console.print(f"  sha256: {result.sha256}", markup=False)
    console.print(result.diff.rstrip(), markup=False)


def _print_tallies(what: str, tallies: dict[str, Tally], console: Console) -> None:
    """Those of which a mutant was run; of the others it is enough how many there are."""
    shown = {name: tally for name, tally in tallies.items() if _counts(tally)[:-1] != (0, 0, 0, 0)}
    width = max(map(len, [what, *shown]))
    heads = "  ".join(f"{head:>10}" for head in HEADS)
    console.print(f"\n{what:{width}}  {heads}", style="bold", markup=False)
    for name, tally in shown.items():
        shares = (percent(tally.share), percent(tally.share_without_equivalent))
        cells = "  ".join(f"{cell:>10}" for cell in (*_counts(tally), *shares))
        console.print(f"{name:{width}}  {cells}", markup=False)
    rest = [tally.unreached for name, tally in tallies.items() if name not in shown]
    if rest:
        console.print(
            f"{counted(len(rest), what)} more without a mutant that was run; unreached {sum(rest)}"
        )


def _counts(tally: Tally) -> tuple[int, int, int, int, int]:
    return tally.killed, tally.survived, tally.timed_out, tally.not_viable, tally.unreached
