"""No input crashes the reading of specs: it is read, or said to be wrong with file, line and column."""

import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.errors import Problem, SpecError
from chaos.spec.loader import load
from chaos.spec.target import Target
from gates.lint.gate import lint
from gates.spec.gate import Gate
from gates.spec.project import CHOOSERS, GATES, read_project
from gates.spec.release import Release
from gates.spec.scenario import ScenarioFile
from tests.builders.small_project import FILES, write_project

SPECS = Path(__file__).parents[2] / "specs"
TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
FIXED = settings(
    max_examples=80,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
STRUCTS = (Gate, Target, Release, ScenarioFile)
HOSTILE = [
    "true", "null", "~", "[]", "{}", "''", "-1", "0", ".nan", ".inf", "1e999", "99999999999999999999", "&a", "*a", "!x",
    "\t", "\n", "- ", ": ", "? ", "| ", "#", "\u0000", "\ufeff", "\u2028", "😀", "{a: b}", "--- ", "%YAML 1.1", "<<: ",
    "select 1; select 2", "random()", "no", "'", '"', "`", "{{", "}}", "{python}",
]  # fmt: skip


def outcome(
    path: Path, struct: type[Gate] | type[Target] | type[Release] | type[ScenarioFile]
) -> None:
    """Read a file; all that may come of it are a value or problems with their places."""
    problems: list[Problem] | None = None
    try:
        load(path, struct, CHOOSERS)
    except SpecError as error:
        problems = error.problems
    assert problems != []
    for problem in problems or []:
        assert problem.file == str(path)
        assert problem.line >= 1 and problem.column >= 1
        assert problem.message and problem.render()


@FIXED
@given(st.binary(max_size=300), st.sampled_from(STRUCTS))
def test_any_bytes(tmp_path: Path, data: bytes, struct: type[Gate]) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(data)
    outcome(path, struct)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from(
    [*Gate.__struct_encode_fields__, "request", "load", "cut", "repeat", "steps", "that", "from", "every", "x"]
) | st.text(max_size=5)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@FIXED
@given(st.dictionaries(KEYS, TREES, max_size=12), st.sampled_from(STRUCTS))
def test_any_tree(tmp_path: Path, tree: dict[str, object], struct: type[Gate]) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    outcome(path, struct)


# -- real gates with something done to them

Change = Callable[[list[str], random.Random], list[str]]


def delete(tokens: list[str], rng: random.Random) -> list[str]:
    start = rng.randrange(len(tokens))
    return tokens[:start] + tokens[start + rng.randrange(1, 6) :]


def duplicate(tokens: list[str], rng: random.Random) -> list[str]:
    start = rng.randrange(len(tokens))
    piece = tokens[start : start + rng.randrange(1, 30)]
    return tokens[:start] + piece + tokens[start:]


def swap(tokens: list[str], rng: random.Random) -> list[str]:
    one, other = sorted(rng.sample(range(len(tokens)), 2))
    changed = list(tokens)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def put_in(tokens: list[str], rng: random.Random) -> list[str]:
    place = rng.randrange(len(tokens))
    return [*tokens[:place], rng.choice(HOSTILE), *tokens[place + rng.randrange(2) :]]


CHANGES: tuple[Change, ...] = (delete, duplicate, swap, put_in)


def changed(text: str, rng: random.Random) -> str:
    tokens = TOKEN.findall(text)
    for _ in range(rng.randrange(1, 4)):
        tokens = rng.choice(CHANGES)(tokens, rng) or [""]
    return "".join(tokens)


@cache
def real_gates() -> dict[str, str]:
    found = [*(SPECS / GATES).rglob("*.yaml"), *(SPECS / "examples" / GATES).rglob("*.yaml")]
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(found)}


@pytest.mark.parametrize("name", real_gates())
def test_real_gates_with_something_done_to_them(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    path = tmp_path / f"{name}.yaml"
    for _ in range(6):
        path.write_text(changed(real_gates()[name], rng), encoding="utf-8", errors="replace")
        outcome(path, Gate)


@pytest.mark.parametrize("seed", range(40))
def test_a_whole_project_with_something_done_to_it(tmp_path: Path, seed: int) -> None:
    """Through all of lint: its steps, its faults, its SQL."""
    rng = random.Random(seed)
    file = rng.choice([name for name in FILES if name.startswith("specs/")])
    specs = write_project(tmp_path, {file: changed(FILES[file], rng)})
    for problem in lint(read_project(specs)):
        assert problem.line >= 1 and problem.column >= 1
        assert problem.message and problem.render()


PIECES = [
    "status", "=", "200", "(", ")", "and", "or", "not", "select", "from", "requests", "where", "case", "when", "end",
    "count(*)", "*", ",", "'x'", "->>", "->", "[", "]", "{", "}", "is null", "in", "between", "lambda x: x", "$1", "#1",
    ";", "--", "/*", "::DATE", "over", "filter", "unnest(during)", "random()", "distinct", "exists", "any", "union",
    "with", "values", "limit 1", "order by all", "columns(*)", "cast", "interval", "struct_pack", "\\", '"', "'", "%",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
def test_sql_of_random_pieces(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    every, source, query = (" ".join(rng.choices(PIECES, k=rng.randrange(1, 9))) for _ in range(3))
    gate = yaml.safe_load(FILES["specs/gates/a/first.yaml"])
    gate["assert"][0] |= {"every": every, "from": rng.choice(["requests", source])}
    gate["with"] = {"w": {"query": query, "at_least": 1}}
    specs = write_project(
        tmp_path, {"specs/gates/a/first.yaml": yaml.safe_dump(gate, sort_keys=False)}
    )
    for problem in lint(read_project(specs)):
        assert problem.message and problem.render()
