"""Arguments of scenarios stand wherever a value does: numbers, lengths of time, links, names and texts."""

from pathlib import Path

import pytest

from chaos.faults.cut import Cut
from chaos.faults.latency import Latency
from chaos.spec.step import Step
from chaos.spec.units import Duration
from chaos.steps.load import Load
from chaos.steps.request import Request
from chaos.steps.use import Use
from gates.lint.gate import lint
from gates.spec.project import Project
from tests.builders.small_project import GATE, project

FIRST, WAVES = "specs/gates/a/first.yaml", "specs/scenarios/waves.yaml"
SCENARIO = """\
scenario: waves
args:
  link: web->stock
  times: 2
  wait: 50ms
  size: 3
  word: x
  way: downstream
  name: waves
  on: true
  who: {a: 1}
defaults: {within: "{wait}"}
steps:
  - repeat: "{times}"
    steps:
      - {latency: "{link}", name: "{name} slow", delay: "{wait}", direction: "{way}", for: "{wait}"}
  - load: "{name}"
    burst: "{size}"
    send: {post: "/{word}/{i}/{size}", headers: {X-Size: "{size}"}, json: {n: "{size}", who: "{who}", text: "{{size} is {size}"}}
  - {request: {get: /}, must: "{on}"}
"""
OUTER = """\
scenario: outer
args: {wait: 70ms, link: }
steps: [{use: waves, with: {wait: "{wait}", link: "{link}", name: inner}}]
"""


def with_use(root: Path, use: str, scenario: str = SCENARIO) -> Project:
    gate = GATE.replace("  - use: restart\n    with: {process: web}\n", f"  - {use}\n")
    changes = {FIRST: gate, WAVES: scenario, "specs/scenarios/outer.yaml": OUTER}
    return project(root, changes)


def steps_of(root: Path, use: str) -> list[Step]:
    read = with_use(root, use)
    read.raise_problems()
    (found,) = (step for step in read.gates["first"].scenario if isinstance(step, Use))
    return found.steps


def said(root: Path, use: str, scenario: str = SCENARIO) -> list[str]:
    """File, what stands at the place, message and hint of every problem."""
    found = lint(with_use(root, use, scenario))
    return [
        f"{Path(p.file).stem}: {p.source[p.column - 1 :]}: {p.message}"
        + (f" ({p.hint}?)" if p.hint else "")
        for p in found
    ]


def latency_and_load(steps: list[Step]) -> tuple[Latency, Load]:
    repeat, load, _ = steps
    (latency,) = repeat.steps  # type: ignore[attr-defined]
    assert isinstance(latency, Latency)
    assert isinstance(load, Load)
    return latency, load


def test_what_is_not_given_is_the_default(tmp_path: Path) -> None:
    steps = steps_of(tmp_path, "use: waves")
    latency, load = latency_and_load(steps)
    assert (steps[0].repeat, latency.link, latency.delay) == (2, "web->stock", Duration("50ms"))  # type: ignore[attr-defined]
    assert (latency.name, latency.direction, load.load, load.burst) == ("waves slow", "downstream", "waves", 3)  # fmt: skip
    assert isinstance(steps[2], Request)
    assert (steps[2].must, steps[2].within) == (True, Duration("50ms"))


def test_what_is_given_stands_where_the_default_did(tmp_path: Path) -> None:
    given = "{link: client->web, times: 7, wait: 1s, size: 5, word: y, way: upstream, name: w, on: false}"
    steps = steps_of(tmp_path, f"{{use: waves, with: {given}}}")
    latency, load = latency_and_load(steps)
    assert (steps[0].repeat, latency.link, latency.delay) == (7, "client->web", Duration("1s"))  # type: ignore[attr-defined]
    assert (latency.name, latency.direction, load.load, load.burst) == ("w slow", "upstream", "w", 5)  # fmt: skip
    assert isinstance(steps[2], Request)
    assert (steps[2].must, steps[2].within) == (False, Duration("1s"))


def test_a_text_keeps_what_only_a_run_knows_and_a_number_in_it_is_its_text(tmp_path: Path) -> None:
    _, load = latency_and_load(steps_of(tmp_path, "{use: waves, with: {word: '{new}'}}"))
    (send,) = [load.send]
    assert send.post == "/{word}/{i}/3"  # type: ignore[union-attr]
    assert send.headers == {"X-Size": "3"}  # type: ignore[union-attr]
    assert send.json == {"n": 3, "who": "{who}", "text": "{{size} is 3"}  # type: ignore[union-attr]


def test_a_scenario_hands_its_arguments_on(tmp_path: Path) -> None:
    (inner,) = steps_of(tmp_path, "{use: outer, with: {link: client->web}}")
    assert isinstance(inner, Use)
    latency, load = latency_and_load(inner.steps)
    assert (latency.link, latency.delay, load.load) == ("client->web", Duration("70ms"), "inner")


@pytest.mark.parametrize(
    ("use", "problems"),
    [
        ("{use: waves, with: {wait: soon}}", ["soon}}: in line 12 of scenario 'waves': expected something like 250ms"]),
        ("{use: waves, with: {times: many}}", ["many}}: in line 14 of scenario 'waves': expected a whole number, got 'many' as {times}"]),
        ("{use: waves, with: {times: 2s}}", ["2s}}: in line 14 of scenario 'waves': expected a whole number"]),
        ("{use: waves, with: {way: upwards}}", ["upwards}}: in line 16 of scenario 'waves': expected one of downstream, upstream, got 'upwards' as {way}"]),
        ("{use: waves, with: {wait: '{state}'}}", ["'{state}'}}: in line 12 of scenario 'waves': expected something like 250ms, 2s, 1min or 1h, got {wait}: only an argument"]),
        ("{use: waves, with: {tiems: 2}}", ["waves, with: {tiems: 2}}: scenario 'waves' takes `with` for link, times"]),
        ("use: outer", ["outer: scenario 'outer' takes `with` for wait, link"]),
        ("{use: waves, with: {link: web->stok}}", ["{link: web->stok}}: scenario 'waves' cannot be used so: unknown link 'web->stok' in target 'shop' (web->stock?)"]),
        ("{use: waves, with: {link: '{state}'}}", ["{link: '{state}'}}: scenario 'waves' cannot be used so: no variable is filled in here: {link} is its name"]),
        ("{use: waves, with: {size: 0}}", ["{size: 0}}: scenario 'waves' cannot be used so: `burst` must be at least 1"]),
        ("{use: outer, with: {link: web->stok}}", ["{link: web->stok}}: scenario 'outer' cannot be used so: unknown link 'web->stok'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_where_it_is_given(
    use: str, problems: list[str], tmp_path: Path
) -> None:
    found = [line for line in said(tmp_path, use) if line.startswith("first: ")]
    assert len(found) == len(problems)
    for line, problem in zip(found, problems, strict=True):
        assert line.startswith(f"first: {problem}")


@pytest.mark.parametrize(
    ("default", "problem"),
    [
        ("wait: soon", "'{wait}'}]: expected something like 250ms, 2s, 1min or 1h, not 'soon'"),
        (
            "wait: ",
            "'{wait}'}]: expected something like 250ms, 2s, 1min or 1h, got {wait}: only an argument",
        ),
        ("link: web->stok", "'{link}', name: outage, for: '{wait}'}]: unknown link 'web->stok'"),
    ],
)
def test_a_wrong_default_is_told_where_it_stands_for_something(
    default: str, problem: str, tmp_path: Path
) -> None:
    args = {"wait": "wait: 50ms", "link": "link: web->stock"} | {
        default.split(":", maxsplit=1)[0]: default
    }
    scenario = f"scenario: waves\nargs: {{{', '.join(args.values())}}}\nsteps: [{{cut: '{{link}}', name: outage, for: '{{wait}}'}}]\n"
    (found,) = said(tmp_path, "pause: 1ms", scenario)
    assert found.startswith(f"waves: {problem}")


def test_arguments_that_must_be_given_may_stand_in_a_list(tmp_path: Path) -> None:
    scenario = "scenario: waves\nargs: [link]\nsteps: [{cut: '{link}', name: outage, for: 1s}]\n"
    read = with_use(tmp_path, "{use: waves, with: {link: client->web}}", scenario)
    (use,) = (step for step in read.gates["first"].scenario if isinstance(step, Use))
    assert use.steps == [Cut(cut="client->web", name="outage", for_=Duration("1s"))]
