"""Merging of statuses."""

from hypothesis import given
from hypothesis import strategies as st

from gates.judge.result import Status, merge

STATUSES: st.SearchStrategy[list[Status]] = st.lists(st.sampled_from(["PASS", "FAIL", "UNKNOWN"]))


@given(STATUSES)
def test_fail_before_unknown_before_pass(statuses: list[Status]) -> None:
    merged = merge(statuses)
    assert (merged == "FAIL") == ("FAIL" in statuses)
    assert (merged == "PASS") == (set(statuses) == {"PASS"})


@given(STATUSES, STATUSES)
def test_the_order_and_the_grouping_do_not_matter(one: list[Status], other: list[Status]) -> None:
    assert merge([*one, *other]) == merge([*other, *one])
    if one and other:
        assert merge([merge(one), merge(other)]) == merge([*one, *other])


def test_of_nothing_nothing_is_known() -> None:
    assert merge([]) == "UNKNOWN"
