"""Which mutants are run: a seeded sample that is representative of the lines that are executed. Pure."""

import random
from collections.abc import Mapping, Sequence

from gates.mutants.mutations import Mutation


def sample(population: Sequence[Mutation], size: int, seed: int) -> list[Mutation]:
    """At most `size` mutations, shared out over files by how many of their lines can be mutated.

    Within a file, lines are drawn without repetition until each has had its turn; of a line first the operator
    is drawn, then the mutation, so that a line with many constants counts no more than another.
    """
    by_file: dict[str, list[Mutation]] = {}
    for mutation in population:
        by_file.setdefault(mutation.file, []).append(mutation)
    lines = {file: len({each.line for each in found}) for file, found in by_file.items()}
    shares = shared_out(min(size, len(population)), lines, seed)
    chosen = []
    for file in sorted(by_file):
        ordered = _in_turn(by_file[file], random.Random(f"{seed} {file}"))
        chosen += ordered[: shares[file]]
    # More than a file has lines to give: others fill up.
    rest = [each for file in sorted(by_file) for each in by_file[file] if each not in set(chosen)]
    missing = min(size, len(population)) - len(chosen)
    if missing > 0:
        chosen += random.Random(f"{seed} rest").sample(rest, missing)
    return sorted(chosen, key=lambda mutation: (mutation.file, mutation.changes))


def shared_out(size: int, weights: Mapping[str, int], seed: int) -> dict[str, int]:
    """Whole numbers that sum up to `size` in proportion to `weights`: each its part rounded down, one more for
    those that are drawn, with a chance as large as what was cut off."""
    total = sum(weights.values()) or 1
    exact = {name: size * weight / total for name, weight in weights.items()}
    shares = {name: int(value) for name, value in exact.items()}
    # Systematic sampling: one random offset, then a stride of one through what was cut off.
    offset, passed = random.Random(f"{seed} shares").random(), 0.0
    names = sorted(exact)
    random.Random(f"{seed} order").shuffle(names)
    for name in names:
        before = passed
        passed += exact[name] - shares[name]
        shares[name] += int(passed + offset) - int(before + offset)
    short = size - sum(shares.values())
    # What is left is the error of adding up fractions.
    for name in names[: abs(short)]:
        shares[name] += 1 if short > 0 else -1
    return shares


def _in_turn(mutations: Sequence[Mutation], rng: random.Random) -> list[Mutation]:
    left: dict[int, dict[str, list[Mutation]]] = {}
    for mutation in mutations:
        left.setdefault(mutation.line, {}).setdefault(mutation.operator, []).append(mutation)
    ordered = []
    while left:
        lines = sorted(left)
        rng.shuffle(lines)
        for line in lines:
            operators = left[line]
            operator = rng.choice(sorted(operators))
            ordered.append(operators[operator].pop(rng.randrange(len(operators[operator]))))
            if not operators[operator]:
                del operators[operator]
            if not operators:
                del left[line]
    return ordered
