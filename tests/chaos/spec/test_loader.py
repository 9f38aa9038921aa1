"""Every error of a spec, with its place, in one pass; and nothing that crashes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from chaos.bounds import SPEC_DEPTH, SPEC_VALUES
from chaos.errors import Problem, SpecError
from chaos.spec.loader import Choose, Refusal, load
from chaos.spec.step import FORM, Bearer, Spec, SpecFile, Step
from chaos.spec.units import Duration, Rate


class Wheel(Spec, frozen=True, kw_only=True):
    """Something inside a list and a mapping."""

    size: int
    name: str = ""


class Car(Spec, frozen=True, kw_only=True):
    """Every sort of hint that the specs use."""

    car: str
    doors: int = 4
    weight: float = 0.0
    electric: bool = False
    kind: Literal["small", "large"] = "small"
    tags: list[str] = []
    wheels: list[Wheel] = []
    spare: dict[str, Wheel] = {}
    lease: Duration | None = None
    traffic: Rate | list[Wheel] | None = None
    as_: str | Bearer | None = None
    either: int | dict[str, object] = 0
    extra: object = None
    parts: list[Step] = []


class Bolt(Step, frozen=True, kw_only=True):
    """The only kind of part here."""

    bolt: str


class Picky(Spec, frozen=True, kw_only=True):
    """Says itself what it does not accept."""

    low: int
    high: int

    def __post_init__(self) -> None:
        """Low comes before high."""
        if self.low > self.high:
            raise ValueError("low is above high")


def choose_part(keys: Iterable[str]) -> type[Step] | Refusal:
    names = list(keys)
    if "bolt" in names:
        return Bolt
    return Refusal("a part has a kind", names[0] if names else None, "bolt" if names else None)


CHOOSERS: dict[type[Struct], Choose] = {Step: choose_part}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "car.yaml"


def read(file: Path, text: str) -> Car:
    file.write_text(text, encoding="utf-8")
    return load(file, Car, CHOOSERS)[0]


def problems(file: Path, text: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        read(file, text)
    return caught.value.problems


def only_problem(file: Path, text: str) -> Problem:
    (problem,) = problems(file, text)
    return problem


def test_everything_that_is_right_is_read(file: Path) -> None:
    car = read(
        file,
        """
        car: beetle
        doors: 2
        weight: 1
        electric: true
        kind: large
        tags: [a, b]
        wheels: [{size: 15}, {size: 16, name: spare}]
        spare: {left: {size: 1}}
        lease: 2s
        traffic: 60/s
        as: operator
        either: {a: [1, {b: null}]}
        extra: [x, 1.5]
        parts: [{bolt: m6, name: first}]
        """,
    )
    assert car == Car(
        car="beetle",
        doors=2,
        weight=1.0,
        electric=True,
        kind="large",
        tags=["a", "b"],
        wheels=[Wheel(size=15), Wheel(size=16, name="spare")],
        spare={"left": Wheel(size=1)},
        lease=Duration("2s"),
        traffic=Rate("60/s"),
        as_="operator",
        either={"a": [1, {"b": None}]},
        extra=["x", 1.5],
        parts=[Bolt(bolt="m6", name="first")],
    )


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("car: a\ndors: 2", 2, 1, "unknown key 'dors' in a car", "doors"),
        ("car: a\nzzz: 2", 2, 1, "unknown key 'zzz' in a car", None),
        ("doors: 2", 1, 1, "a car needs 'car'", None),
        ("car: a\ndoors: two", 2, 8, "expected a whole number, got the text 'two'", None),
        ("car: a\ndoors: 2.5", 2, 8, "expected a whole number, got 2.5", None),
        ("car: a\ndoors: [1]", 2, 8, "expected a whole number, got a list", None),
        ("car: a\ndoors:", 2, 7, "expected a whole number, got nothing", None),
        ("car: 5", 1, 6, "expected a text, got 5", None),
        ("car: {a: b}", 1, 6, "expected a text, got a mapping", None),
        ("car: a\nelectric: yes", 2, 11, "expected true or false, got the text 'yes'", None),
        ("car: a\nkind: lrge", 2, 7, "expected one of small, large, got the text 'lrge'", "large"),
        ("car: a\ntags: x", 2, 7, "expected a list, got the text 'x'", None),
        ("car: a\ntags: {x: y}", 2, 7, "expected a list, got a mapping", None),
        ("car: a\ntags: [x, 1]", 2, 11, "expected a text, got 1", None),
        ("car: a\nspare: [x]", 2, 8, "expected a mapping, got a list", None),
        ("car: a\nwheels: [7]", 2, 10, "expected a wheel, got 7", None),
        ("car: a\nwheels: [{}]", 2, 10, "a wheel needs 'size'", None),
        ("car: a\nspare: {x: {size: y}}", 2, 19, "expected a whole number, got the text 'y'", None),
        ("car: a\nlease: 2", 2, 8, "expected something like 250ms, 2s, 1min or 1h, not 2", None),
        (
            "car: a\nlease: 2x",
            2,
            8,
            "expected something like 250ms, 2s, 1min or 1h, not '2x'",
            None,
        ),
        ("car: a\ntraffic: 0/s", 2, 10, "expected something like 60/s or 90/min, not '0/s'", None),
        ("car: a\nas: [x]", 2, 5, "expected a text or a bearer, got a list", None),
        ("car: a\nas: {bearer: x}", 2, 5, "a bearer needs 'label'", None),
        ("car: a\nas: {bearer: x, labl: y}", 2, 17, "unknown key 'labl' in a bearer", "label"),
        ("car: a\neither:", 2, 8, "expected a whole number, got nothing", None),
        ("car: a\nparts: [{blt: m6}]", 2, 10, "a part has a kind", "bolt"),
        ("car: a\nparts: [{}]", 2, 9, "a part has a kind", None),
        ("car: a\ncar: b", 2, 1, "duplicate key 'car'", None),
        ("car: a\nextra: {x: 1, x: 2}", 2, 15, "duplicate key 'x'", None),
        ("car: a\nextra: {? [x] : 1}", 2, 11, "a key must be a text", None),
        ("car: a\nextra: !!binary abc", 2, 8, "the tag 'tag:yaml.org,2002:binary' is not", None),
        ("car: a\nextra: !mine {a: b}", 2, 8, "the tag '!mine' is not", None),
        ("car: a\nextra: !!int abc", 2, 8, "'abc' is not an int", None),
        ("car: a\nextra: 99999999999999999999", 2, 8, "a whole number must fit into 64 bits", None),
        ('car: "\\ud800"', 1, 9, "while parsing a quoted scalar: found invalid Unicode", None),
        ("car: a: b", 1, 7, "mapping values are not allowed in this context", None),
        ("car: [a", 2, 1, "while parsing a flow sequence: did not find expected ',' or ']'", None),
        ("car: *x", 1, 6, "found undefined alias", None),
        (
            "car: a\n\tdoors: 2",
            2,
            1,
            "while scanning a plain scalar: found a tab character that violates indentation",
            None,
        ),
        ("car: a\n---\ncar: b", 2, 1, "expected a single document", None),
        ("car: a\ndoors: \x07", 2, 8, "this character is not allowed in YAML", None),
        ("car: é\ndoors: é\x07", 2, 9, "this character is not allowed in YAML", None),
        ("car: a\nextra: &a [1, *a]", 2, 8, "an alias contains itself", None),
        ("", 1, 1, "the file is empty", None),
        ("# nothing but a comment\n", 1, 1, "the file is empty", None),
        ("- car: a", 1, 1, "expected a car, got a list", None),
        ("beetle", 1, 1, "expected a car, got the text 'beetle'", None),
    ],
)
def test_an_error_has_its_place_and_its_words(
    file: Path, text: str, line: int, column: int, message: str, hint: str | None
) -> None:
    found = only_problem(file, text)
    assert found.message.startswith(message)
    assert (found.file, found.line, found.column) == (str(file), line, column)
    assert found.hint == hint


def test_all_errors_are_found_in_one_pass_in_the_order_of_the_file(file: Path) -> None:
    found = problems(
        file,
        "car: 1\ndors: 2\nkind: big\nwheels:\n  - {size: x, nam: y}\n  - {}\nlease: long\n",
    )
    assert [(problem.line, problem.column) for problem in found] == [
        (1, 6),
        (2, 1),
        (3, 7),
        (5, 12),
        (5, 15),
        (6, 5),
        (7, 8),
    ]


def test_a_problem_shows_its_line_with_a_caret_and_what_was_meant(file: Path) -> None:
    problem = only_problem(file, "car: a\nkind: lrge")
    assert problem.render() == (
        f"{file}:2:7: expected one of small, large, got the text 'lrge'\n"
        "    kind: lrge\n"
        "          ^\n"
        "    did you mean 'large'?"
    )


def test_the_caret_stands_right_behind_tabs_and_beyond_the_end_of_a_line() -> None:
    assert Problem("f", 1, 3, "m", "\t\tx").render() == "f:1:3: m\n    \t\tx\n    \t\t^"
    assert Problem("f", 1, 5, "m", "ab").render() == "f:1:5: m\n    ab\n        ^"


def test_a_struct_that_refuses_its_values_is_a_problem_at_its_place(file: Path) -> None:
    file.write_text("low: 2\nhigh: 1\n")
    with pytest.raises(SpecError, match=r"car.yaml:1:1: low is above high"):
        load(file, Picky, {})


def test_a_mapping_or_a_text_of_a_union_is_read_as_what_it_is(file: Path) -> None:
    assert read(file, "car: a\nas: {bearer: x, label: y}").as_ == Bearer(bearer="x", label="y")
    assert read(file, "car: a\nas: x").as_ == "x"
    assert read(file, "car: a\nas: ~").as_ is None
    assert read(file, "car: a\neither: 7").either == 7
    assert read(file, "car: a\ntraffic: [{size: 1}]").traffic == [Wheel(size=1)]


def test_an_alias_is_what_it_stands_for(file: Path) -> None:
    car = read(file, "car: a\nwheels: [&w {size: 3}, *w]\n")
    assert car.wheels == [Wheel(size=3), Wheel(size=3)]


def test_aliases_that_multiply_without_end_are_refused_soon(file: Path) -> None:
    lines = ["car: a", "extra:", "  - &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert only_problem(file, "\n".join(lines)).message.startswith(
        f"more than {SPEC_VALUES} values"
    )


@pytest.mark.parametrize("deep", [SPEC_DEPTH + 1, 2_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_deep_nesting_is_a_problem_and_no_crash(file: Path, deep: int, pair: str) -> None:
    inner = "a: " if pair == "{}" else ""
    text = f"car: a\nextra: {(pair[0] + inner) * deep}1{pair[1] * deep}"
    assert only_problem(file, text).message == f"nested more than {SPEC_DEPTH} deep"


def test_a_file_that_is_not_utf_8_says_where(file: Path) -> None:
    file.write_bytes(b"car: a\nkind: \xff")
    with pytest.raises(SpecError, match=r"car.yaml:2:7: cannot be read: it is not UTF-8"):
        load(file, Car, CHOOSERS)


def test_a_byte_order_mark_is_no_part_of_the_text(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfcar: a\n")
    assert load(file, Car, CHOOSERS)[0].car == "a"


@pytest.mark.parametrize("what", ["absent", "directory"])
def test_what_cannot_be_read_is_a_problem_of_the_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "gone.yaml" if what == "absent" else tmp_path
    with pytest.raises(SpecError, match=":1:1: cannot be read: "):
        load(path, Car, CHOOSERS)


def test_places_of_values_are_known_for_later_complaints(file: Path) -> None:
    file.write_text("car: a\nwheels:\n  - size: 3\n  - {size: 4, name: x}\n")
    _, document = load(file, Car, CHOOSERS)
    document.problem(("wheels", 1, "name"), "not this name", "y")
    document.problem(("wheels", 7, "name"), "not there")
    document.problem(("nowhere",), "at the top")
    assert [(p.line, p.column, p.message) for p in document.problems] == [
        (4, 21, "not this name"),
        (3, 3, "not there"),
        (1, 1, "at the top"),
    ]


KEYS = st.sampled_from([*(field.rstrip("_") for field in Car.__struct_fields__), "x", "", "0"])
SCALARS = st.sampled_from(
    ["", "~", "a", "1", "1.5", "true", "no", "2s", "60/s", "0x10", ".nan", "*a", "&a b", "!!int x"]
)
YAML = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


@given(
    st.one_of(
        YAML,
        st.lists(st.tuples(KEYS, YAML)).map(lambda pairs: "\n".join(f"{k}: {v}" for k, v in pairs)),
    )
)
@example("{? {a: b} : c}")
@example("&a {car: *a}")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_yaml_raises_anything_but_a_spec_error(file: Path, text: str) -> None:
    try:
        car = read(file, text)
    except SpecError as error:
        for problem in error.problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert problem.render().startswith(f"{file}:{problem.line}:{problem.column}: ")
    else:
        assert isinstance(car, Car)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace"))
)
@example(b'"\\UFFFFFFFF"')
@example(b"%YAML 3.0\n---\na: b")
@example(b"!!timestamp 2020")
@example(b"? !!bool maybe\n: x")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_raise_anything_but_a_spec_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SpecError):
        load(file, Car, CHOOSERS)


class Town(SpecFile, frozen=True, kw_only=True):
    """A file of its own."""

    town: str


@pytest.mark.parametrize("form", [0, 2])
def test_of_a_file_in_another_form_that_alone_is_said(tmp_path: Path, form: int) -> None:
    path = tmp_path / "town.yaml"
    path.write_text(f"form: {form}\ntwon: x\nmayor: y\n")
    with pytest.raises(SpecError) as raised:
        load(path, Town, {})
    (problem,) = raised.value.problems
    assert problem.message == f"this is form {form} of specs, this harness reads form {FORM}"
    assert (problem.line, problem.column) == (1, 7)


@pytest.mark.parametrize("first", ["", f"form: {FORM}\n"])
def test_a_file_need_not_say_that_it_is_in_the_form_of_now(tmp_path: Path, first: str) -> None:
    path = tmp_path / "town.yaml"
    path.write_text(f"{first}town: x\n")
    assert load(path, Town, {})[0] == Town(town="x")
    path.write_text("town: x\nform: new\n")
    with pytest.raises(SpecError, match="expected a whole number"):
        load(path, Town, {})
