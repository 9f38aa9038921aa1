"""A sample is drawn by a seed, and represents the lines of all files."""

from collections import Counter

from gates.mutants.mutations import Mutation, mutations_of
from gates.mutants.sample import sample, shared_out


def module(name: str, lines: int) -> list[Mutation]:
    """Mutations of a file of so many lines, each with a constant and with three conditions."""
    return mutations_of(
        name, "".join(f"x{number} = a < b < c < {number}\n" for number in range(lines))
    )


POPULATION = module("a.py", 60) + module("b.py", 30) + module("c.py", 10)


def test_the_same_seed_draws_the_same() -> None:
    assert sample(POPULATION, 20, 1) == sample(POPULATION, 20, 1)
    assert sample(POPULATION, 20, 1) != sample(POPULATION, 20, 2)


def test_files_are_represented_by_their_lines() -> None:
    files = Counter(mutation.file for mutation in sample(POPULATION, 20, 1))
    assert files == {"a.py": 12, "b.py": 6, "c.py": 2}


def test_no_line_is_drawn_twice_before_all_are_drawn_once() -> None:
    places = Counter((mutation.file, mutation.line) for mutation in sample(POPULATION, 100, 1))
    assert set(places.values()) == {1}
    assert len(places) == 100


def test_of_a_line_operators_are_drawn_alike() -> None:
    operators = Counter(mutation.operator for mutation in sample(module("a.py", 100), 100, 1))
    # Three conditions and two constants: a line's mutations alone would give three to two.
    assert abs(operators["bound moved"] - operators["constant"]) < 40


def test_all_is_all_and_more_is_no_more() -> None:
    everything = sorted(POPULATION, key=lambda mutation: (mutation.file, mutation.changes))
    assert sample(POPULATION, len(POPULATION), 1) == everything
    assert sample(POPULATION, 10_000, 1) == everything
    assert sample([], 10, 1) == []


def test_shares_sum_up_and_small_files_get_their_turn() -> None:
    weights = {"a": 1, "b": 1, "c": 1, "d": 97}
    drawn: Counter[str] = Counter()
    for seed in range(300):
        shares = shared_out(10, weights, seed)
        assert sum(shares.values()) == 10
        assert shares["d"] in (9, 10)
        drawn.update(shares)
    assert all(10 < drawn[name] < 60 for name in "abc")
