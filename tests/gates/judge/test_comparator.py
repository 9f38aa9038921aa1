"""What may stand under `is:`, and how it compares."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.judge import comparator
from gates.judge.comparator import Between, EqualsQuery, Simple

NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("< 5", Simple("<", Decimal(5))),
        (">=0.9", Simple(">=", Decimal("0.9"))),
        ("== -1e3", Simple("=", Decimal("-1e3"))),
        ("<> 2", Simple("!=", Decimal(2))),
        ("Between 1 AND 3", Between(Decimal(1), Decimal(3))),
        ("= (select count(*) from w)", EqualsQuery("select count(*) from w", 3)),
    ],
)
def test_forms(text: str, expected: object) -> None:
    assert comparator.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "< five",
        "< 5 or true",
        "< 5; drop table requests",
        "< nan",
        "< inf",
        "between 3 and 1",
        "between 1 and 2 or 1 = 1",
        "= (delete from requests)",
        "< (select 1)",
        "=> 5",
        "< 5ms",
        "< 1_000",
    ],
)
def test_nothing_else_is_taken(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected something like|nothing lies between"):
        comparator.parse(text)


def test_a_float_is_compared_with_the_nearest_float() -> None:
    assert comparator.holds(Simple("<=", Decimal("0.1")), 0.1)
    assert not comparator.holds(Simple("<", Decimal("0.1")), 0.1)


def test_integers_beyond_floats_are_compared_exactly() -> None:
    assert not comparator.holds(Simple("=", Decimal(2**63)), 2**63 + 1)


@given(NUMBERS, NUMBERS)
def test_exactly_one_of_less_equal_and_greater_holds(
    value: int | Decimal, bound: int | Decimal
) -> None:
    holding = [
        op
        for op in ("<", "=", ">")
        if comparator.holds(comparator.parse(f"{op} {Decimal(bound)}"), value)
    ]
    assert len(holding) == 1


@given(NUMBERS, NUMBERS, NUMBERS)
def test_between_is_two_comparisons(value: Decimal, one: Decimal, other: Decimal) -> None:
    low, high = sorted((Decimal(one), Decimal(other)))
    both = all(comparator.holds(bound, value) for bound in (Simple(">=", low), Simple("<=", high)))
    assert comparator.holds(Between(low, high), value) == both


@given(st.integers(0, 50), st.integers(1, 50), st.sampled_from(["<", "<=", ">", ">=", "=", "!="]))
def test_shares_are_exact(part: int, whole: int, operator: str) -> None:
    share = Fraction(min(part, whole), whole)
    bound = Decimal(1) / Decimal(2)
    expected = {
        "<": share < Fraction(1, 2),
        "<=": share <= Fraction(1, 2),
        "=": share == Fraction(1, 2),
    }
    expected |= {
        ">": share > Fraction(1, 2),
        ">=": share >= Fraction(1, 2),
        "!=": share != Fraction(1, 2),
    }
    assert comparator.holds(comparator.parse(f"{operator} {bound}"), share) == expected[operator]


@pytest.mark.parametrize("text", [">= 0", "<= 1", "between 0 and 1", "< 2", "> -1", "= (select 1)"])
def test_shares_that_say_nothing_are_refused(text: str) -> None:
    assert comparator.share_problem(comparator.parse(text)) is not None


@pytest.mark.parametrize("text", [">= 0.9", "<= 0.1", "= 1", "between 0.2 and 0.4"])
def test_shares_that_say_something(text: str) -> None:
    assert comparator.share_problem(comparator.parse(text)) is None
