"""What killers are asked: each question is a task, and its answer is kept until an input changes."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from msgspec import Struct
from rich.console import Console

from gates.mutants.evaluate import Finding
from gates.mutants.mutations import Mutation
from gates.run.bench import Bench, Said, Task
from gates.run.session import Session
from gates.run.store import Place, Store
from gates.run.tasks import spread

R = TypeVar("R", bound=Struct)

FOLDER: Final = "mutants"
MOST: Final = 20_000
"""So many answers are kept; they are small."""


class Answer(Struct, Generic[R], frozen=True):
    """What was found: before, after no `tries`, or just now, at the first."""

    found: R
    tries: int


class Question(Task[Answer[R]], Generic[R], frozen=True, kw_only=True):
    """Something to be run. What it finds, a struct of this `kind`, is kept in its place."""

    kind: ClassVar[type[Any]]
    place: Place

    def do(self, bench: Bench) -> Answer[R]:
        """What is kept, or what is found now."""
        store, key = self.place.store, self.place.key
        kept: R | None = None if self.place.anew else store.find(key, self.kind)
        if kept is not None:
            return Answer(kept, 0)
        with store.making() as made:
            found = self.find(bench)
            store.keep(key, made, found)
        return Answer(found, 1)

    def find(self, bench: Bench) -> R:
        """Run it."""
        raise NotImplementedError


class OfMutant(Question[Finding], frozen=True, kw_only=True):
    """A mutation that a killer is to be run against, for at most `within_s`."""

    gives = Answer[Finding]
    kind = Finding
    mutation: Mutation
    within_s: float

    def said(self, result: Answer[Finding]) -> Said:
        """What it came to, and by what."""
        finding = result.found
        by = f" by {finding.by[0]}" if finding.by else ""
        return Said(finding.outcome, f"{self.label}{by}", tries=result.tries)


class Asking(Struct, frozen=True):
    """Asks in one session; what was found before, at the same inputs, is not run again unless `anew`."""

    session: Session
    store: Store
    anew: bool
    console: Console

    def place(self, key: str) -> Place:
        """Where an answer is kept."""
        return Place(self.store, key, self.anew)

    def say(self, text: str) -> None:
        """Say something on the way."""
        self.console.print(text, markup=False)

    def ask(self, questions: Sequence[Question[R]]) -> list[R]:
        """What is found, in the order of the questions."""
        answers = spread(self.session, questions, self.console).complete()
        return [answer.found for answer in answers]
