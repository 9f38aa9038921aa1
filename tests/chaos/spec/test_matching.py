"""What an `expect` accepts and how it says that it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spec.matching import MISSING, mismatches, pattern_problem

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("abc", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", max_size=2), inner),
    max_leaves=8,
)


def matches(expected: object, actual: object) -> bool:
    return not list(mismatches(expected, actual))


@given(JSON)
def test_everything_matches_itself(value: object) -> None:
    assert matches(value, value)


@given(st.dictionaries(st.text("xyz"), JSON), st.dictionaries(st.text("uvw", min_size=1), JSON))
def test_a_mapping_matches_one_with_more_keys(
    value: dict[str, object], more: dict[str, object]
) -> None:
    assert matches(value, {**more, **value})


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("< 5", 4),
        ("<= 5", 5),
        ("> -1.5", 0),
        (">=4", 4),
        ("= 4", 4.0),
        ("== 4", 4),
        ("!= 4", 5),
        ("/^a.c$/", "abc"),
        ("/b/", "abc"),
        ("//", "anything"),
        ("present", 0),
        ("present", ""),
        ("absent", MISSING),
        ({"a": "absent"}, {"b": 1}),
        ({"a": {"b": [1, "present"]}}, {"a": {"b": [1, 2], "c": 3}}),
        (None, None),
        (1, 1.0),
    ],
)
def test_matches(expected: object, actual: object) -> None:
    assert matches(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual", "message"),
    [
        ("< 5", 5, "$: expected < 5, got 5"),
        ("< 5", "4", '$: expected < 5, got "4"'),
        ("< 5", True, "$: expected < 5, got true"),
        ("< 5", MISSING, "$: expected < 5, got nothing"),
        ("/^b/", "abc", '$: expected /^b/, got "abc"'),
        ("/1/", 1, "$: expected /1/, got 1"),
        ("present", None, "$: expected present, got null"),
        ("present", MISSING, "$: expected present, got nothing"),
        ("absent", None, "$: expected absent, got null"),
        ("200", 200, '$: expected "200", got 200'),
        (200, "200", '$: expected 200, got "200"'),
        (1, True, "$: expected 1, got true"),
        (0, False, "$: expected 0, got false"),
        (None, MISSING, "$: expected null, got nothing"),
        ({"a": 1}, [1], "$: expected an object, got [1]"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "$.a.b: expected 1, got 2"),
        ([1, 2], [1], "$: expected 2 items, got [1]"),
        ([1, 2], [1, 3], "$[1]: expected 2, got 3"),
        ([], "", '$: expected 0 items, got ""'),
    ],
)
def test_does_not_match(expected: object, actual: object, message: str) -> None:
    assert list(mismatches(expected, actual)) == [message]


def test_every_mismatch_is_named() -> None:
    found = list(mismatches({"a": 1, "b": 2, "c": {"d": "absent"}}, {"a": 2, "c": {"d": 0}}))
    assert found == [
        "$.a: expected 1, got 2",
        "$.b: expected 2, got nothing",
        "$.c.d: expected absent, got 0",
    ]


def test_a_long_answer_is_shortened() -> None:
    (message,) = mismatches("x", "y" * 1000)
    assert len(message) < 200
    assert message.endswith("…")


def test_a_pattern_that_does_not_compile_is_found_wherever_it_stands() -> None:
    assert pattern_problem({"a": ["/ok/", {"b": "/(/"}]}) is not None
    assert pattern_problem({"a": ["/ok/", {"b": "(", "c": "/"}, 5]}) is None
