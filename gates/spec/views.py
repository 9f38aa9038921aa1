"""Views of a target: named queries that its gates use without writing them, and that stand in the gate's snapshot."""

import re
from collections.abc import Iterator, Mapping

from chaos.spec.target import View
from gates.spec.assertion import Named
from gates.spec.gate import Gate

_NO_NAMES = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"\w+")


def used_views(gate: Gate, views: Mapping[str, View]) -> dict[str, Named]:
    """Those that the gate's SQL names outside of texts and comments, and those that these name, in their order."""
    words = set[str]().union(*map(_words, _sql_of(gate)))
    used = []
    # A view may use those before it.
    for name, view in reversed(list(views.items())):
        if name in words:
            used.append(name)
            words |= _words(view.query)
    return {name: named for name, named in named_views(views).items() if name in used}


def named_views(views: Mapping[str, View]) -> dict[str, Named]:
    """Views as a gate has them in its `with`."""
    return {name: Named(query=view.query, at_least=view.at_least) for name, view in views.items()}


def _sql_of(gate: Gate) -> Iterator[str]:
    """All SQL of a gate that can name a table."""
    yield from (named.query for named in gate.with_.values())
    for assertion in (*gate.assert_, *gate.host):
        yield assertion.from_
        yield assertion.is_ or ""


def _words(sql: str) -> set[str]:
    return set(_WORD.findall(_NO_NAMES.sub(" ", sql).lower()))
