"""Problems in order, each once."""

import pytest

from chaos.errors import HarnessError, Problem, RecordingError, SpecError, TargetError, told


def test_problems_are_sorted_by_place_and_each_is_told_once() -> None:
    first = Problem("a.yaml", 2, 1, "x")
    problems = [
        Problem("b.yaml", 1, 1, "x"),
        Problem("a.yaml", 10, 1, "x"),
        Problem("a.yaml", 2, 1, "x", hint="y"),
        Problem("a.yaml", 2, 5, "x"),
        first,
        first,
    ]
    error = SpecError(problems)
    places = [(problem.file, problem.line, problem.column) for problem in error.problems]
    assert places == [
        ("a.yaml", 2, 1),
        ("a.yaml", 2, 1),
        ("a.yaml", 2, 5),
        ("a.yaml", 10, 1),
        ("b.yaml", 1, 1),
    ]
    assert str(error).splitlines()[-1] == "b.yaml:1:1: x"


def test_what_the_harness_could_not_do_is_one_family() -> None:
    assert issubclass(TargetError, HarnessError)
    assert issubclass(RecordingError, HarnessError)
    assert not issubclass(SpecError, HarnessError)


@pytest.mark.parametrize("column", [1, 2, 80, 5_000, 249_999, 250_000, 250_001])
def test_of_a_long_line_its_place_is_shown(column: int) -> None:
    line = "".join(chr(ord("a") + number % 26) for number in range(250_000))
    shown = Problem("a.yaml", 1, column, "x", source=line).render().splitlines()
    assert max(map(len, shown)) < 200
    _, text, caret = shown
    under = text[len(caret) - 1 : len(caret)]
    assert under == line[column - 1 : column]


def test_a_short_line_is_shown_whole() -> None:
    assert Problem("a.yaml", 1, 3, "x", source="a b").render() == "a.yaml:1:3: x\n    a b\n      ^"
    assert Problem("a.yaml", 1, 2, "x", source="\tb").render().endswith("\n    \tb\n    \t^")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "x", "/a/b"), "/a/b: No such file or directory"),
        (FileNotFoundError(2, "x", "here"), "No such file or directory"),
        (OSError(28, "x"), "No space left on device"),
        (OSError("the reason"), "the reason"),
        (KeyError("name"), "there is no 'name'"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
        (
            UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "y"),
            "the bytes from place 1 on are no UTF-8",
        ),
        (ValueError("a path must be text"), "a path must be text"),
        (ValueError(), "no reason was given"),
        (HarnessError("as it is"), "as it is"),
    ],
)
def test_what_went_wrong_is_told_without_words_of_python(error: Exception, said: str) -> None:
    assert told(error, "here") == said
