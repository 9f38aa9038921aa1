"""What DuckDB says of SQL, in words for whoever writes or reads a gate: one line, and no advice that a gate cannot take."""

import re
from collections.abc import Callable

from gates.judge.problem import suggestion

TOO_DEEP = (
    "this is nested too deep: write it flatter, or put what is listed into a table under `data:`"
)


def _column(found: re.Match[str]) -> str:
    names = re.findall(r'"([^"]+)"', found["known"] or "")
    known = frozenset(name.rpartition(".")[2] for name in names)
    return f"there is no column {found['name']}{suggestion(found['name'], known)}"


_WORDS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"Max expression depth limit of \d+ exceeded.*", lambda _: TOO_DEEP),
    (
        r'Referenced column "(?P<name>[^"]+)" (?:was )?not found in FROM clause!?(?P<known> Candidate bindings: .*)?.*',
        _column,
    ),
    (
        r'(?:Table|Values list) "[^"]+" does not have a column named "(?P<name>[^"]+)"(?P<known> Candidate bindings: .*)?.*',
        _column,
    ),
    (
        r'Referenced table "(?P<name>[^"]+)" not found!.*',
        lambda found: f"there is no table {found['name']} here",
    ),
    (
        r'column "?(?P<name>[^"]+)"? must appear in the GROUP BY clause.*',
        lambda found: (
            f"the column {found['name']} is neither grouped by nor inside of an aggregate"
        ),
    ),
    (
        r"SELECT clause without selection list|syntax error at end of input",
        lambda _: "there is no SQL here, or it ends too early",
    ),
    (
        r"(?:missing|invalid|bad|unexpected|trailing|no argument) .*",
        lambda found: f"re2 does not read this regular expression: {found[0]}",
    ),
    (
        r"No function matches the given name and argument types '(?P<call>[^']+)'\..*",
        lambda found: f"there is no function {found['call']} of such arguments: cast them",
    ),
    (
        r"(?P<said>Could not convert string '.*' to \w+) when casting from source column (?P<name>.+)",
        lambda found: f"{found['said']}, from the column {found['name']}",
    ),
)


def plain(message: str) -> str:
    """A message of DuckDB's in one line, without what it tells only to somebody at its own prompt."""
    text = " ".join(re.split(r"\s*\bLINE \d+:", message)[0].split())
    for pattern, said in _WORDS:
        found = re.fullmatch(pattern, text)
        if found is not None:
            return said(found)
    return text
