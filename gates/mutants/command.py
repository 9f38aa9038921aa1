"""`python -m gates mutants`: how many small changes of the system under test its gates notice."""

import argparse
import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console

from chaos.errors import HarnessError
from gates.commands import sound_project
from gates.mutants.equivalent import read_equivalents, reviewed
from gates.mutants.evaluate import Attempt, Result, by_gate, outcome_of, result_of, tallies, tally
from gates.mutants.mutations import Mutation, mutations_of
from gates.mutants.report import MutantReport, Population, print_mutants
from gates.mutants.runs import (
    LIMIT_FACTOR,
    LIMIT_S,
    Measuring,
    Mutant,
    Reach,
    Turn,
    attempt,
    finished,
    kept,
    key_of,
    measure,
)
from gates.mutants.sample import sample
from gates.pool import spread
from gates.project import Project
from gates.report import EXIT_FAILED, EXIT_PROMOTE
from gates.session import Options, Session, exercise, open_session

STORE = "mutants"
LEAST = 0.85
EXAMPLES = """\
Each mutant is the source with one small change, and is run against the gates that execute the changed line, the
quickest first, until one fails. What is finished is not run again until an input changes.

examples:
  python -m gates mutants --sample 200       two hundred, drawn over all lines that gates execute
  python -m gates mutants A3 --file service/gateway/gate.py
                                             every mutant of one file, against one gate
  python -m gates mutants --sample 200 --list
                                             which ones these are
"""


def mutants(arguments: argparse.Namespace, console: Console) -> int:
    """Run mutants; exit 1 when the share of the killed is smaller than was asked for."""
    options = Options(
        specs=str(arguments.specs.resolve()),
        only=tuple(arguments.only),
        seed=arguments.seed,
        workers=arguments.workers,
    )
    if importlib.util.find_spec("coverage") is None:
        raise HarnessError("mutants need coverage.py in this environment: run `nox -s mutants`")
    project = sound_project(options)
    entries = read_equivalents(project.specs)
    session = open_session(options, arguments.runs, lambda text: console.print(text, markup=False))
    if not session.gates:
        raise HarnessError("no gate was chosen, so nothing would notice a mutant")
    work = _Work(session, project, arguments.runs.resolve() / STORE, console)
    possible = possible_mutations(session, project)
    files = chosen_files(arguments.file, possible)
    exercise(session)
    reaches = work.reaches(cached=not arguments.no_cache)
    population = [each for each in possible if each.file in files and gates_of(each, reaches)]
    size = len(population) if arguments.sample is None else arguments.sample
    chosen = [work.mutant(each, reaches) for each in sample(population, size, arguments.seed)]
    if arguments.list:
        for mutant in chosen:
            gates = ", ".join(turn.gate for turn in mutant.turns)
            one = mutant.mutation
            console.print(
                f"{one.file}:{one.line} {one.operator} {one.sha256[:12]}: {gates}", markup=False
            )
        return EXIT_PROMOTE
    known = reviewed(entries, possible)
    results = [
        result_of(mutation, attempts, known.reasons)
        for mutation, attempts in work.run(chosen, cached=not arguments.no_cache)
    ]
    report = report_of(
        session,
        results,
        [each for each in possible if each.file in files],
        reaches,
        sample=arguments.sample,
        files=sorted(files) if arguments.file else [],
        least=arguments.least,
        stale=known.stale,
    )
    out = write_report(report, session, arguments.output)
    print_mutants(report, console)
    console.print(f"mutants: {out}", markup=False)
    return EXIT_PROMOTE if report.enough else EXIT_FAILED


def possible_mutations(session: Session, project: Project) -> list[Mutation]:
    """Every mutation of the source of the chosen gates' targets, by file and place."""
    root = Path(session.root)
    targets = {project.gates[name].target for name in session.gates}
    folders = sorted({source for target in targets for source in project.targets[target].source})
    paths = {path for folder in folders for path in (root / folder).rglob("*.py")}
    found = []
    for path in sorted(paths):
        # Line ends are kept as they are: offsets count bytes.
        found += mutations_of(str(path.relative_to(root)), path.read_bytes().decode())
    if not found:
        raise HarnessError("the targets of these gates declare no `source` that could be changed")
    return found


def chosen_files(asked: Sequence[Path], possible: Sequence[Mutation]) -> frozenset[str]:
    """The files that were asked for, or all; HarnessError names one that has no mutation."""
    known = frozenset(mutation.file for mutation in possible)
    wanted = frozenset(str(path) for path in asked)
    for name in sorted(wanted - known):
        raise HarnessError(f"there is nothing to change in {name!r}: it is no module of a target")
    return wanted or known


def gates_of(mutation: Mutation, reaches: Sequence[Reach]) -> list[Reach]:
    """The gates that execute the place of a mutation, in the order of `reaches`."""
    touches = set(mutation.touches)
    return [reach for reach in reaches if touches & set(reach.lines.get(mutation.file, ()))]


def report_of(
    session: Session,
    results: Sequence[Result],
    possible: Sequence[Mutation],
    reaches: Sequence[Reach],
    *,
    sample: int | None,
    files: list[str],
    least: float,
    stale: list[str],
) -> MutantReport:
    """Everything counted, over the mutations that could have been chosen."""
    unreached = [mutation for mutation in possible if not gates_of(mutation, reaches)]
    of_file = Counter(mutation.file for mutation in unreached)
    of_operator = Counter(mutation.operator for mutation in unreached)
    of_gate = {
        reach.gate: sum(reach not in gates_of(mutation, reaches) for mutation in possible)
        for reach in reaches
    }
    total = tally(results, len(unreached))
    share = total.share_without_equivalent
    return MutantReport(
        session=session.id,
        commit=session.commit,
        dirty=session.dirty,
        seed=session.options.seed,
        sample=sample,
        files=files,
        least=least,
        enough=share is not None and share >= least,
        population=Population(
            possible=len(possible), reached=len(possible) - len(unreached), run=len(results)
        ),
        total=total,
        gates=by_gate(results, of_gate),
        modules=tallies(
            results, {each.file: of_file[each.file] for each in possible}, lambda one: one.file
        ),
        operators=tallies(
            results,
            {each.operator: of_operator[each.operator] for each in possible},
            lambda one: one.operator,
        ),
        stale=stale,
        refuted=[
            f"{result.file}: {result.sha256}"
            for result in results
            if result.equivalent is not None and result.outcome == "killed"
        ],
        mutants=list(results),
    )


def write_report(report: MutantReport, session: Session, output: Path | None) -> Path:
    """Write `mutants.json` beside the session's evidence, and where else it is wanted."""
    data = msgspec.json.format(msgspec.json.encode(report))
    out = session.path / STORE / "mutants.json"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(data)
    if output is not None:
        output.write_bytes(data)
    return out


class _Work(Struct, frozen=True):
    """What is run in a session: the gates as they are, then the mutants."""

    session: Session
    project: Project
    store: Path
    console: Console

    def reaches(self, *, cached: bool) -> list[Reach]:
        """What each gate executes, the quickest gate first. HarnessError when one does not pass by itself."""
        asked = [self._measuring(name, watched=True) for name in self.session.gates]
        found = self._measured(asked, cached=cached)
        failed = [name for name, reach in found.items() if reach.status != "PASS"]
        # It may be too slow for a gate that its lines are watched.
        again = self._measured(
            [self._measuring(name, watched=False) for name in failed], cached=False
        )
        for name, reach in again.items():
            if reach.status != "PASS":
                raise HarnessError(
                    f"{name} is {reach.status} without any mutant, so it shows nothing: {reach.detail}"
                )
            found[name] = msgspec.structs.replace(found[name], seconds=reach.seconds)
        if not any(reach.lines for reach in found.values()):
            raise HarnessError("no gate was seen to execute any line of its target's `source`")
        return sorted(found.values(), key=lambda reach: (reach.seconds, reach.gate))

    def mutant(self, mutation: Mutation, reaches: Sequence[Reach]) -> Mutant:
        """A mutation with its gates and the places of their results."""
        change = {"file": mutation.file, "changes": msgspec.to_builtins(mutation.changes)}
        turns = [
            Turn(
                gate=reach.gate,
                within_s=LIMIT_S + LIMIT_FACTOR * reach.seconds,
                place=self._place(reach.gate, change),
            )
            for reach in gates_of(mutation, reaches)
        ]
        return Mutant(mutation=mutation, turns=turns)

    def run(
        self, mutants: Sequence[Mutant], *, cached: bool
    ) -> list[tuple[Mutation, list[Attempt]]]:
        """Run them, and say of each what became of it."""
        done: dict[Mutation, list[Attempt]] = {}

        def tell(mutant: Mutant, attempts: list[Attempt], note: str = "") -> None:
            done[mutant.mutation] = attempts
            failed = [each.gate for each in attempts if each.status == "FAIL"]
            by = f" by {failed[0]}" if failed else ""
            one = mutant.mutation
            self.console.print(
                f"{len(done):4}/{len(mutants)} {outcome_of(attempts):10}"
                f" {one.file}:{one.line} {one.operator}{by}{note}",
                markup=False,
            )

        left = []
        for mutant in mutants:
            found = finished(mutant) if cached else None
            if found is not None:
                tell(mutant, found, " (cached)")
            else:
                left.append(mutant)
            if not cached:
                for turn in mutant.turns:
                    Path(turn.place).unlink(missing_ok=True)
        spread(self.session.path, self.session.options.workers, attempt, left, tell)
        return [(mutant.mutation, done[mutant.mutation]) for mutant in mutants]

    def _measured(self, asked: Sequence[Measuring], *, cached: bool) -> dict[str, Reach]:
        found: dict[str, Reach] = {}

        def tell(one: Measuring, reach: Reach, note: str = "") -> None:
            found[one.gate] = reach
            lines = sum(map(len, reach.lines.values()))
            executed = f", {lines} lines executed" if one.watched else ""
            self.console.print(
                f"{one.gate} as it is: {reach.status}{executed}, {reach.seconds:.1f} s{note}",
                markup=False,
            )

        for one in asked:
            reach = kept(Path(one.place), Reach) if cached else None
            if reach is not None and reach.status == "PASS":
                tell(one, reach, " (cached)")
        left = [one for one in asked if one.gate not in found]
        spread(self.session.path, self.session.options.workers, measure, left, tell)
        return found

    def _measuring(self, name: str, *, watched: bool) -> Measuring:
        place = self._place(name, {"healthy": True, "watched": watched})
        return Measuring(gate=name, watched=watched, place=place)

    def _place(self, name: str, what: object) -> str:
        return str(self.store / f"{key_of(self.session, self.project, name, what)}.json")
