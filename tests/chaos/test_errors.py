"""Problems in order, each once."""

from chaos.errors import HarnessError, Problem, RecordingError, SpecError, TargetError


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
