"""What is wrong with a gate's assertions, as data: the loader shows it in the YAML file."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Kind = Literal[
    "syntax",  # no SQL, or not exactly one SELECT
    "function",  # a function that is not on the allow-list
    "table",  # an unknown or forbidden table, or no evidence at all
    "column",  # an unknown column
    "name",  # a text that no row can hold
    "form",  # SQL that is valid but not allowed in this place
    "order",  # an answer that would depend on the order of rows
    "constant",  # a predicate that does not depend on the evidence
    "comparator",  # an `is:` that cannot be parsed, or that cannot fail
    "population",  # an `at_least:` that carries nothing
    "type",  # a predicate that is not boolean, a value that is no number
    "bind",  # anything else that DuckDB refuses
    "unanswered",  # a condition on an answer, which leaves out what was never answered
    "outside",  # a gate that rests only on what the system says about itself
    "data",  # a `data:` table that is no table
    "golden",  # a whole answer is compared with a literal
    "long",  # a literal that is a page of its own
]


class Problem(Struct, frozen=True):
    """One problem. `where` leads to the text: `assert.2.every`, `with.lost.query`; `offset` counts characters."""

    kind: Kind
    message: str
    where: str
    offset: int | None = None


class Text(Struct, frozen=True):
    """A text that is compared with a column of evidence, and where; see `Problem`.

    What is `ordered` need be no row's: it is asked what comes before or after it.
    """

    table: str
    column: str
    text: str
    where: str
    offset: int | None
    ordered: bool = False


class Source(Struct, frozen=True):
    """A piece of a gate's SQL: where it stands, its text, and what was put before it to parse it.

    `shift` is where it begins in what is written in the gate, when that is more than the SQL.
    """

    where: str
    text: str
    prefix: str = ""
    shift: int = 0

    def sql(self) -> str:
        """What is parsed. The line break ends a comment that the text may end with."""
        return f"{self.prefix}{self.text}\n"

    def problem(self, kind: Kind, message: str, at: int | None = None) -> Problem:
        """A problem in this text. `at` is a place in `sql()`, in bytes."""
        return Problem(kind, message, self.where, self.offset(at))

    def offset(self, at: int | None) -> int | None:
        """The place in the text, in characters, of a place in `sql()`, in bytes."""
        if at is None:
            return None
        inside = max(0, at - len(self.prefix.encode()))
        return self.shift + len(self.text.encode()[:inside].decode(errors="ignore"))


def suggestion(word: str, known: Mapping[str, object] | frozenset[str]) -> str:
    """`; did you mean "x"?`, or nothing when no known word is near."""
    import difflib  # noqa: PLC0415  # costs 5 ms and is needed only when something is wrong

    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
