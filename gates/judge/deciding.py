"""From what was measured to a status. Nothing in here asks for anything: numbers in, status out."""

import math
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from gates.judge import binomial, comparator, telling
from gates.judge.comparator import Between, EqualsQuery, Simple
from gates.judge.plan import AssertPlan
from gates.judge.result import Status


class Measurement(Struct, frozen=True):
    """What SQL counted.

    `rows` are all rows and `distinct` the distinct ones; `population` are those that say something, for a value
    the distinct rows whose inputs are known. Of all rows `true` satisfy the predicate and for `null` it is not
    known; `odd` hold NaN or infinity. `value` is an aggregate as DuckDB gave it, `fast` how many rows are within
    the limit of a percentile.
    """

    population: int
    rows: int
    distinct: int
    true: int = 0
    null: int = 0
    odd: int = 0
    value: object = None
    fast: int = 0


class Outcome(Struct, frozen=True):
    """A status with its reason."""

    status: Status
    measured: int | float | None
    violating: int | None
    why: str


def decide(
    plan: AssertPlan, measured: Measurement, expected: float | Decimal | None = None
) -> Outcome:
    """The outcome of an assertion. `expected` is what the query in its `is:` gave."""
    if measured.population < plan.assertion.at_least:
        why = f"only {measured.population} of at least {plan.assertion.at_least} rows: too few to say anything"
        return Outcome("UNKNOWN", None, None, why)
    if measured.odd:
        why = f"{measured.odd} rows hold NaN or infinity, which SQL orders above every number"
        return Outcome("UNKNOWN", None, None, why)
    if plan.test in ("share", "value") and measured.rows != measured.distinct:
        why = f"the query gives {measured.rows} rows for {measured.distinct} distinct ones, which would count some twice"
        return Outcome("UNKNOWN", None, None, why)
    if plan.test == "value":
        return _value(plan, measured, expected)
    if plan.test == "share":
        return _share(plan, measured)
    return _rows(plan, measured)


def _rows(plan: AssertPlan, measured: Measurement) -> Outcome:
    """`every` and `none`: what is not known violates both."""
    wanted = (
        measured.true if plan.test == "every" else measured.rows - measured.true - measured.null
    )
    violating = measured.rows - wanted
    if not violating:
        return Outcome("PASS", 0, 0, f"all {measured.rows} rows satisfy it")
    known = f" (NULL for {measured.null})" if measured.null else ""
    why = f"{violating} of {measured.rows} rows violating it{known}"
    return Outcome("FAIL", violating, violating, why)


def _share(plan: AssertPlan, measured: Measurement) -> Outcome:
    """A share, judged at whichever end is worse when for some rows it is not known."""
    bound = plan.comparator
    assert isinstance(bound, Simple | Between)
    low = Fraction(measured.true, measured.rows)
    high = Fraction(measured.true + measured.null, measured.rows)
    shown = high if comparator.upper_bounded(bound) else low
    why = f"{float(shown):.4g}, {shown.numerator * measured.rows // shown.denominator} of {measured.rows} rows"
    if measured.null:
        why += f" (NULL for {measured.null}, counted so that they do not help)"
    violating = measured.rows - measured.true if shown is low else measured.true + measured.null
    passed = _share_holds(bound, low, high)
    return Outcome("PASS" if passed else "FAIL", float(shown), None if passed else violating, why)


def _share_holds(bound: Simple | Between, low: Fraction, high: Fraction) -> bool:
    if isinstance(bound, Simple) and bound.operator == "!=":
        return not low <= Fraction(bound.bound) <= high
    return comparator.holds(bound, low) and comparator.holds(bound, high)


def _value(plan: AssertPlan, measured: Measurement, expected: float | Decimal | None) -> Outcome:
    number = finite(measured.value)
    if number is None:
        why = f"the value is {telling.value(measured.value)}, not one finite number"
        return Outcome("UNKNOWN", None, None, why)
    shown = number if isinstance(number, int) else float(number)
    if plan.quantile is not None:
        return _quantile(plan.quantile.quantile, measured, shown)
    bound = plan.comparator
    if isinstance(bound, EqualsQuery):
        if expected is None:
            return Outcome("UNKNOWN", shown, None, "there is no number to compare with")
        exact = Decimal(str(expected)) if isinstance(expected, float) else Decimal(expected)
        bound = Simple("=", exact)
    assert bound is not None
    passed = comparator.holds(bound, number)
    found = telling.value(shown)
    if expected is not None:
        found += f", where the query in `is:` gives {telling.value(_plain(expected))}"
    return Outcome("PASS" if passed else "FAIL", shown, None, found)


def _plain(number: float | Decimal) -> int | float:
    return int(number) if number == int(number) else float(number)


def _quantile(quantile: float, measured: Measurement, shown: float) -> Outcome:
    """A percentile with an upper limit: by the 95% bounds of the share that is slower."""
    slow = measured.rows - measured.fast
    seen = f"{slow} of {measured.rows} rows are not within the limit"
    if binomial.proves(slow, measured.rows, quantile):
        return Outcome("PASS", shown, slow, seen)
    if binomial.refutes(slow, measured.rows, quantile):
        return Outcome(
            "FAIL", shown, slow, f"{seen}; the {quantile} quantile is {telling.value(shown)}"
        )
    why = f"{seen}, which neither proves nor refutes the {quantile} quantile with 95% confidence"
    return Outcome("UNKNOWN", shown, slow, why)


def finite(value: object) -> int | float | Decimal | None:
    """One finite number, or None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None
