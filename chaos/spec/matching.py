"""Subset matching of recorded answers: what an `expect` may say of a value.

A mapping matches when each of its keys matches; a list when it has as many items and each matches; any
other value when it is equal and of the same type. A text may also be `/regex/` (found anywhere),
a comparison with a number like `< 5`, `present` (there and not null) or `absent` (not there).
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping

from chaos.spec import patterns
from chaos.spec.variables import placeholders

_COMPARISON = re.compile(r"\s*(<=|>=|==|!=|<|>|=)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


MISSING = object()


def mismatches(expected: object, actual: object, place: str = "$") -> Iterator[str]:
    """What of `expected` does not hold of `actual`, a sentence each; nothing when it matches."""
    if isinstance(expected, Mapping):
        yield from _mapping_mismatches(expected, actual, place)
    elif isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            yield f"{place}: expected {len(expected)} items, got {_short(actual)}"
            return
        for index, item in enumerate(expected):
            yield from mismatches(item, actual[index], f"{place}[{index}]")
    elif not _scalar_matches(expected, actual):
        wanted = str(expected) if _is_pattern(expected) else _short(expected)
        yield f"{place}: expected {wanted}, got {_short(actual)}"


def _is_pattern(expected: object) -> bool:
    """Whether a text is no value itself but says what a value may be."""
    if not isinstance(expected, str):
        return False
    is_regex = len(expected) > 1 and expected[0] == expected[-1] == "/"
    return is_regex or expected in ("absent", "present") or bool(_COMPARISON.fullmatch(expected))


def _mapping_mismatches(
    expected: Mapping[str, object], actual: object, place: str
) -> Iterator[str]:
    if not isinstance(actual, Mapping):
        yield f"{place}: expected an object, got {_short(actual)}"
        return
    for key, value in expected.items():
        yield from mismatches(value, actual.get(key, MISSING), f"{place}.{key}")


def _scalar_matches(expected: object, actual: object) -> bool:
    if expected == "absent":
        return actual is MISSING
    if expected == "present":
        return actual is not MISSING and actual is not None
    if isinstance(expected, str):
        return _text_matches(expected, actual)
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    return expected == actual


def _text_matches(expected: str, actual: object) -> bool:
    if len(expected) > 1 and expected[0] == expected[-1] == "/":
        return isinstance(actual, str) and patterns.found_in(actual, expected[1:-1])
    comparison = _COMPARISON.fullmatch(expected)
    if comparison is not None:
        if isinstance(actual, bool) or not isinstance(actual, int | float):
            return False
        return _OPERATORS[comparison[1]](actual, float(comparison[2]))
    return expected == actual


def pattern_problem(expected: object) -> str | None:
    """Why a `/regex/` anywhere in `expected` cannot be used, or None."""
    if isinstance(expected, Mapping):
        return next(filter(None, map(pattern_problem, expected.values())), None)
    if isinstance(expected, list):
        return next(filter(None, map(pattern_problem, expected)), None)
    if isinstance(expected, str) and len(expected) > 1 and expected[0] == expected[-1] == "/":
        return patterns.problem(expected[1:-1])
    return None


def number_problem(expected: object) -> str | None:
    """Why something that is compared with a number could never be it, or None."""
    if not isinstance(expected, str) or _COMPARISON.fullmatch(expected):
        return None
    if expected in ("absent", "present") or any(placeholders(expected)):
        return None
    return f"expected a number, or something like `< 500`, not {expected!r}"


def _short(value: object, most_chars: int = 120) -> str:
    text = "nothing" if value is MISSING else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most_chars else text[: most_chars - 1] + "…"
