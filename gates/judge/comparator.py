"""What stands under `is:`: parsed into an operator and numbers, never spliced into SQL."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from chaos import bounds

Number = int | float | Decimal | Fraction
Operator = Literal["<", "<=", ">", ">=", "=", "!="]

_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SIMPLE = re.compile(rf"(<=|>=|<|>|==|=|!=|<>)\s*({_NUMBER})")
_BETWEEN = re.compile(rf"between\s+({_NUMBER})\s+and\s+({_NUMBER})", re.IGNORECASE)
_SELECT = re.compile(r"==?\s*\(\s*((?:select|with|from)\b.*)\)", re.IGNORECASE | re.DOTALL)
_SPELLINGS: Mapping[str, Operator] = {
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
}

_COMPARE: Mapping[str, Callable[[Fraction | float, Fraction | float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class Simple(Struct, frozen=True):
    """A measured value against one number."""

    operator: Operator
    bound: Decimal

    def __str__(self) -> str:
        return f"{self.operator} {self.bound}"


class Between(Struct, frozen=True):
    """A measured value between two numbers, both included."""

    low: Decimal
    high: Decimal

    def __str__(self) -> str:
        return f"between {self.low} and {self.high}"


class EqualsQuery(Struct, frozen=True):
    """A measured value equal to the one number that a query gives; `offset` is where it starts in the text."""

    query: str
    offset: int

    def __str__(self) -> str:
        return f"= ({self.query.strip()})"


Comparator = Simple | Between | EqualsQuery


def parse(text: str) -> Comparator:
    """The comparator written as `text`; ValueError says what could have been written."""
    stripped = text.strip()
    if match := _SIMPLE.fullmatch(stripped):
        return Simple(_SPELLINGS[match[1]], _number(match[2]))
    if match := _BETWEEN.fullmatch(stripped):
        low, high = _number(match[1]), _number(match[2])
        if low > high:
            raise ValueError(f"nothing lies between {low} and {high}")
        return Between(low, high)
    if match := _SELECT.fullmatch(stripped):
        return EqualsQuery(match[1], text.index(stripped) + match.start(1))
    raise ValueError(
        f"expected something like `< 5`, `between 1 and 3` or `= (select …)`, not {text!r}"
    )


def _number(text: str) -> Decimal:
    bounds.require_number(text)
    return Decimal(text)


def holds(comparator: Simple | Between, value: Number) -> bool:
    """Whether a finite `value` satisfies the comparator.

    Fractions, integers and decimals are compared exactly; a float is compared with the nearest float,
    so that 0.1 is 0.1.
    """
    if isinstance(comparator, Between):
        return _compare("<=", value, comparator.high) and _compare(">=", value, comparator.low)
    return _compare(comparator.operator, value, comparator.bound)


def _compare(operator: str, value: Number, bound: Decimal) -> bool:
    if isinstance(value, float):
        return _COMPARE[operator](value, float(bound))
    return _COMPARE[operator](Fraction(value), Fraction(bound))


def upper_bounded(comparator: Simple | Between) -> bool:
    """Whether a small value is what satisfies it: nothing that is not known may then help."""
    return isinstance(comparator, Simple) and comparator.operator in ("<", "<=")


def share_problem(comparator: Comparator) -> str | None:
    """Why a share cannot be compared with this, or None."""
    if isinstance(comparator, EqualsQuery):
        return "a share is compared with numbers; write the query as a `value`"
    bounds = (
        [comparator.low, comparator.high] if isinstance(comparator, Between) else [comparator.bound]
    )
    if not all(0 <= bound <= 1 for bound in bounds):
        return "a share lies between 0 and 1"
    none, all_of_them = holds(comparator, Fraction(0)), holds(comparator, Fraction(1))
    if (
        none
        and all_of_them
        and not (isinstance(comparator, Simple) and comparator.operator == "!=")
    ):
        return f"every share is {comparator}, so this cannot fail"
    return None
