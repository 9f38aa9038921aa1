"""What became of mutants, counted. Pure: it sees findings and nothing else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from gates.mutants.mutations import Mutation

Outcome: TypeAlias = Literal["killed", "survived", "timed out", "not viable"]
OUTCOMES: tuple[Outcome, ...] = ("killed", "survived", "timed out", "not viable")


class Finding(Struct, frozen=True, kw_only=True):
    """What a killer, a gate or the tests, found out about one mutant. `by` are the assertions or the test that failed,
    none where a step alone did; `detail` is what was said."""

    outcome: Outcome
    by: list[str]
    detail: str
    seconds: float


class Result(Struct, frozen=True, kw_only=True):
    """One mutant that was run against its killer: the name of a gate, or `tests`.

    `equivalent` is the reason why it is no other system, where a review says so.
    """

    killer: str
    file: str
    line: int
    operator: str
    sha256: str
    diff: str
    equivalent: str | None
    finding: Finding

    @property
    def outcome(self) -> Outcome:
        """What it came to."""
        return self.finding.outcome

    @property
    def overlooked(self) -> bool:
        """Whether its killer did not notice it, and no review explains that."""
        return self.outcome in ("survived", "timed out") and self.equivalent is None


class Tally(Struct, frozen=True, kw_only=True):
    """How many mutants came to what. `equivalent` are those of the survivors that a review calls so.

    `unreached` counts possible mutations on lines that the killer does not execute; none of them is run. The shares
    are those of the killed among all viable ones, and among those that are not called equivalent; None of nothing.
    """

    killed: int
    survived: int
    equivalent: int
    timed_out: int
    not_viable: int
    unreached: int
    share: float | None
    share_without_equivalent: float | None


def outcome_of_gate(status: str, *, measured: bool, late: bool) -> Outcome:
    """What a gate's run against a mutant says. UNKNOWN is no kill.

    `measured` says whether the target started and the control steps passed, `late` that the time limit ended it.
    """
    if status == "FAIL":
        return "killed"
    if late:
        return "timed out"
    return "survived" if measured else "not viable"


def result_of(
    killer: str, mutation: Mutation, finding: Finding, equivalent: Mapping[str, str]
) -> Result:
    """What became of one mutant; `equivalent` maps digests to reasons."""
    return Result(
        killer=killer,
        file=mutation.file,
        line=mutation.line,
        operator=mutation.operator,
        sha256=mutation.sha256,
        diff=mutation.diff,
        equivalent=equivalent.get(mutation.sha256),
        finding=finding,
    )


def tally(results: Iterable[Result], unreached: int) -> Tally:
    """Count them."""
    found = list(results)
    counts = {name: sum(each.outcome == name for each in found) for name in OUTCOMES}
    equivalent = sum(each.outcome == "survived" and each.equivalent is not None for each in found)
    viable = counts["killed"] + counts["survived"] + counts["timed out"]
    return Tally(
        killed=counts["killed"],
        survived=counts["survived"],
        equivalent=equivalent,
        timed_out=counts["timed out"],
        not_viable=counts["not viable"],
        unreached=unreached,
        share=_share(counts["killed"], viable),
        share_without_equivalent=_share(counts["killed"], viable - equivalent),
    )


def tallies(
    results: Sequence[Result],
    unreached: Mapping[str, int],
    group: Callable[[Result], str],
) -> dict[str, Tally]:
    """Count them by what `group` says; `unreached` has every group, those without a mutant too."""
    groups: dict[str, list[Result]] = {name: [] for name in unreached}
    for result in results:
        groups[group(result)].append(result)
    return {name: tally(found, unreached[name]) for name, found in groups.items()}


def _share(killed: int, of: int) -> float | None:
    return killed / of if of > 0 else None
