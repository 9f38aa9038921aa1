"""Placeholders, and places in answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spec.variables import (
    UnknownVariable,
    Variables,
    literal,
    path_parts,
    pick,
    placeholders,
    uses,
)

VARIABLES = Variables(
    {
        "token.operator": "abc",
        "port.gateway": 7000,
        "route": {"path": "/x/{id}", "deep": {"er": [1]}},
        "flag": True,
        "nothing": None,
        "items": [1, 2],
    }
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{port.gateway}", 7000),
        ("{flag}", True),
        ("{items}", [1, 2]),
        ("{route.path}", "/x/{id}"),
        ("{route.deep.er}", [1]),
        ("{nothing}", None),
        ("a{port.gateway}b", "a7000b"),
        ("{token.operator}{flag}", "abctrue"),
        ("x {items} {nothing}", "x [1,2] null"),
        ('{"a": 1}', '{"a": 1}'),
        ("{}", "{}"),
        ("{ flag }", "{ flag }"),
        ("{1}", "{1}"),
        ("{{flag}}", "{flag}"),
        ("{{{flag}}}", "{true}"),
        ("{{ {flag} }}", "{ true }"),
        ('{{"a": {port.gateway}}}', '{"a": 7000}'),
        ('{"a": {"b": {port.gateway}}}', '{"a": {"b": 7000}}'),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ('{{"a": {{"b": 1}}}}', '{"a": {"b": 1}}'),
        ("awk '{ print }' {{x}} }}", "awk '{ print }' {x} }}"),
        ("{{", "{"),
        ("}}", "}}"),
        ("", ""),
    ],
)
def test_a_text_is_filled(text: str, value: object) -> None:
    assert VARIABLES.fill(text) == value


def test_everything_inside_is_filled_keys_included() -> None:
    filled = VARIABLES.fill({"a-{flag}": ["{port.gateway}", {"b": "{token.operator}"}], "c": 5})
    assert filled == {"a-true": [7000, {"b": "abc"}], "c": 5}


def test_braces_of_a_variables_own_value_stay() -> None:
    assert VARIABLES.text("GET {route.path}") == "GET /x/{id}"


@pytest.mark.parametrize(
    "name", ["nobody", "token", "token.nobody", "route.nobody", "route.path.x", "flag.x"]
)
def test_a_name_that_nothing_has_set_is_an_error(name: str) -> None:
    with pytest.raises(UnknownVariable) as caught:
        VARIABLES.text(f"x{{{name}}}")
    assert caught.value.args == (name,)
    assert name not in VARIABLES


def test_a_child_sees_and_hides_and_keeps_to_itself() -> None:
    child = VARIABLES.child({"flag": False, "new": 1})
    child.set("later", 2)
    assert [child["flag"], child["new"], child["later"], child["port.gateway"]] == [
        False,
        1,
        2,
        7000,
    ]
    assert "new" not in VARIABLES
    assert "later" not in VARIABLES
    assert set(child) == {*VARIABLES, "new", "later"}
    assert len(child) == len(VARIABLES) + 2


def test_the_longest_name_that_is_set_wins() -> None:
    variables = Variables({"a": {"b": {"c": 1}}, "a.b": {"c": 2}})
    assert variables["a.b.c"] == 2


@given(
    st.recursive(
        st.integers() | st.text("ab{}"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
    )
)
def test_what_has_no_placeholder_stays_as_it_is(value: object) -> None:
    variables = Variables()
    if "{{" in repr(value):
        return
    if not list(placeholders(value)):
        assert variables.fill(value) == value
    else:
        with pytest.raises(UnknownVariable):
            variables.fill(value)


@given(
    st.recursive(
        st.integers() | st.text("ab"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
    )
)
def test_json_stays_as_it_is_and_comes_back_when_its_braces_are_doubled(value: object) -> None:
    text = json.dumps(value)
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert Variables().text(text) == text
    assert Variables().text(doubled) == literal(doubled) == text
    assert list(placeholders(doubled)) == []


def test_nothing_is_filled_into_a_literal() -> None:
    assert literal("{flag} {{flag}} {a: 1}") == "{flag} {flag} {a: 1}"


def test_names_are_filled_like_values() -> None:
    filled = VARIABLES.texts({"X-{port.gateway}": "{token.operator}"})
    assert filled == {"X-7000": "abc"}


def test_uses_are_told_with_their_places() -> None:
    value = {"a": ["x {b} {{c}}", {"{k}": "{d.e}"}]}
    assert [(use.place, use.name, use.offset) for use in uses(value, ("in",))] == [
        (("in", "a", 0), "b", 2),
        (("in", "a", 1, "{k}"), "k", 0),
        (("in", "a", 1, "{k}"), "d.e", 0),
    ]


def test_names_of_placeholders_are_found_everywhere() -> None:
    assert list(placeholders({"{a}": ["{b.c} {d-1}", {"x": "{e}"}], "y": 5})) == [
        "a",
        "b.c",
        "d-1",
        "e",
    ]


DOCUMENT = {"id": 7, "items": [{"id": 1}, {"id": 2}], "a-b": {"c_d": None}, "": 3}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.id", 7),
        ("$.items[1].id", 2),
        ("$.a-b.c_d", None),
        ("$.items", [{"id": 1}, {"id": 2}]),
    ],
)
def test_a_place_is_picked(path: str, value: object) -> None:
    assert pick(DOCUMENT, path) == value


@pytest.mark.parametrize(
    "path", ["$.nobody", "$.items[2]", "$.id.x", "$.id[0]", "$[0]", "$.items.0"]
)
def test_a_place_that_is_not_there_is_a_key_error(path: str) -> None:
    with pytest.raises(KeyError):
        pick(DOCUMENT, path)


@pytest.mark.parametrize(
    "path", ["", "id", "$id", "$.", "$.a[", "$.nobody[x]", "$.a b", "$..a", "$.a[-1]"]
)
def test_a_place_that_cannot_be_read_is_a_value_error(path: str) -> None:
    with pytest.raises(ValueError, match=r"starts with \$|cannot read the place"):
        pick(DOCUMENT, path)


def test_parts_of_a_place() -> None:
    assert path_parts("$.a[0].b") == ["a", 0, "b"]
