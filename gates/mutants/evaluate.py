"""What became of mutants, counted. Pure: it sees attempts and nothing else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gates.mutants.mutations import Mutation

Outcome = Literal["killed", "survived", "timed out", "not viable"]
OUTCOMES: tuple[Outcome, ...] = ("killed", "survived", "timed out", "not viable")


class Attempt(Struct, frozen=True, kw_only=True):
    """A gate's run against one mutant. `red` are the assertions that failed; none where a step alone did.

    `measured` says whether the target started and the gate's control steps passed, `late` that the run was ended
    by its time limit.
    """

    gate: str
    status: str
    detail: str
    red: list[str]
    measured: bool
    late: bool
    seconds: float


class Result(Struct, frozen=True, kw_only=True):
    """One mutant that was run. `equivalent` is the reason why it is no other system, where a review says so."""

    file: str
    line: int
    operator: str
    sha256: str
    diff: str
    outcome: Outcome
    equivalent: str | None
    attempts: list[Attempt]

    @property
    def killed_by(self) -> str | None:
        """The gate that noticed it."""
        return next((attempt.gate for attempt in self.attempts if attempt.status == "FAIL"), None)


class Tally(Struct, frozen=True, kw_only=True):
    """How many mutants came to what. `equivalent` are those of the survivors that a review calls so.

    `unreached` counts possible mutations on lines that no gate executes; none of them is run. The shares are those
    of the killed among all viable ones, and among those that are not called equivalent; None of nothing.
    """

    killed: int
    survived: int
    equivalent: int
    timed_out: int
    not_viable: int
    unreached: int
    share: float | None
    share_without_equivalent: float | None


def outcome_of(attempts: Sequence[Attempt]) -> Outcome:
    """What a mutant came to. UNKNOWN is no kill; not viable is what no gate could measure at all."""
    if any(attempt.status == "FAIL" for attempt in attempts):
        return "killed"
    if any(attempt.late for attempt in attempts):
        return "timed out"
    if not any(attempt.measured for attempt in attempts):
        return "not viable"
    return "survived"


def ends(attempt: Attempt) -> bool:
    """Whether nothing more is asked of a mutant after this."""
    return attempt.status == "FAIL" or attempt.late


def result_of(
    mutation: Mutation, attempts: Sequence[Attempt], equivalent: Mapping[str, str]
) -> Result:
    """What became of one mutant; `equivalent` maps digests to reasons."""
    return Result(
        file=mutation.file,
        line=mutation.line,
        operator=mutation.operator,
        sha256=mutation.sha256,
        diff=mutation.diff,
        outcome=outcome_of(attempts),
        equivalent=equivalent.get(mutation.sha256),
        attempts=list(attempts),
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
    groups: dict[str, list[Result]] = {name: [] for name in sorted(unreached)}
    for result in results:
        groups[group(result)].append(result)
    return {name: tally(found, unreached[name]) for name, found in groups.items()}


def by_gate(results: Sequence[Result], gates: Mapping[str, int]) -> dict[str, Tally]:
    """What each gate did with the mutants that it was run against; `gates` maps it to what it does not reach.

    A gate that comes after a kill is not run, so these are no measure of a gate alone.
    """
    return {
        gate: tally(
            [
                _seen_by(result, attempt)
                for result in results
                for attempt in result.attempts
                if attempt.gate == gate
            ],
            unreached,
        )
        for gate, unreached in gates.items()
    }


def _seen_by(result: Result, attempt: Attempt) -> Result:
    return Result(
        file=result.file,
        line=result.line,
        operator=result.operator,
        sha256=result.sha256,
        diff=result.diff,
        outcome=outcome_of([attempt]),
        equivalent=result.equivalent,
        attempts=[attempt],
    )


def _share(killed: int, of: int) -> float | None:
    return killed / of if of > 0 else None
