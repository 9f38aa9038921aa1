"""`mutants.json`, and the same for a terminal."""

import math
from collections.abc import Iterator

from msgspec import Struct
from rich.console import Console

from gates.mutants.evaluate import Result, Tally
from gates.render import counted

HEADS = ("killed", "survived", "timed out", "not viable", "unreached", "share", "w/o equiv.")


class Population(Struct, frozen=True, kw_only=True):
    """What there was to choose from: possible mutations, those on lines that gates execute, those that were run."""

    possible: int
    reached: int
    run: int


class MutantReport(Struct, frozen=True, kw_only=True):
    """What became of a session's mutants.

    `sample` is what was asked for, None for all of them. `gates` and `modules` are tallies by gate and by file, a
    gate's over the mutants that it was run against. `stale` are entries of the reviewed list that match no mutation, `refuted`
    those that a gate killed.
    """

    session: str
    commit: str | None
    dirty: bool
    seed: int
    sample: int | None
    files: list[str]
    least: float
    enough: bool
    population: Population
    total: Tally
    gates: dict[str, Tally]
    modules: dict[str, Tally]
    operators: dict[str, Tally]
    stale: list[str]
    refuted: list[str]
    mutants: list[Result]

    @property
    def survivors(self) -> Iterator[Result]:
        """Mutants that no gate noticed and no review explains."""
        for result in self.mutants:
            if result.outcome in ("survived", "timed out") and result.equivalent is None:
                yield result


def print_mutants(report: MutantReport, console: Console) -> None:
    """The survivors first, with what each gate said; then the tallies, and last the shares."""
    for result in report.survivors:
        _print_survivor(result, console)
    for result in report.mutants:
        if result.outcome == "not viable":
            why = result.attempts[0].detail.partition("\n")[0] if result.attempts else ""
            console.print(f"not viable: {_name(result)}: {why}", markup=False)
    _print_tallies("gate", report.gates, console)
    _print_tallies("operator", report.operators, console)
    _print_tallies("module", report.modules, console)
    for entry in report.stale:
        console.print(f"stale in the list of equivalents: {entry}", markup=False)
    for entry in report.refuted:
        console.print(f"called equivalent, and killed all the same: {entry}", markup=False)
    population = report.population
    console.print(
        f"{counted(population.run, 'mutant')} run of {population.reached} that gates reach,"
        f" seed {report.seed}; {population.possible - population.reached} more are unreached"
    )
    held = sum(
        any(each.status != "PASS" for each in result.attempts) for result in report.survivors
    )
    total = report.total
    console.print(
        f"{total.killed} killed, {total.survived} survived ({total.equivalent} of them called equivalent),"
        f" {total.timed_out} timed out, {total.not_viable} not viable"
    )
    if held:
        console.print(
            f"{held} of those not killed made some gate UNKNOWN, or a step of it fail: a release would be held"
        )
    console.print(
        f"share killed: {percent(total.share)}; without equivalents {percent(total.share_without_equivalent)};"
        f" at least {percent(report.least)} is asked for",
        style="green" if report.enough else "bold red",
    )


def percent(share: float | None) -> str:
    """A share for people. It is cut off, not rounded: 85.0 % is never 84.96."""
    return "-" if share is None else f"{math.floor(share * 1000 + 1e-9) / 10:.1f} %"


def _name(result: Result) -> str:
    return f"{result.file}:{result.line} {result.operator}"


def _print_survivor(result: Result, console: Console) -> None:
    console.print(f"\n{result.outcome}: {_name(result)}", style="bold", markup=False)
    for attempt in result.attempts:
        said = f": {attempt.detail.partition(chr(10))[0]}" if attempt.status != "PASS" else ""
        console.print(f"  {attempt.gate} {attempt.status}{said}", markup=False)
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
