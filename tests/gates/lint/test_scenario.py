"""What is wrong in a scenario file is told there, once, whoever uses it and how often."""

from pathlib import Path

import pytest

from gates.lint.gate import lint
from tests.builders.small_project import GATE, SCENARIO, project

FIRST, RESTART = "specs/gates/a/first.yaml", "specs/scenarios/restart.yaml"
TWICE = GATE.replace(
    "  - use: restart\n", "  - {use: restart, with: {process: stock}}\n  - use: restart\n"
)
UNUSED = GATE.replace("  - use: restart\n    with: {process: web}\n", "")


def said(root: Path, addition: str, gate: str = TWICE) -> list[str]:
    """File, what stands at the place, and message of every problem."""
    found = lint(project(root, {RESTART: SCENARIO + addition, FIRST: gate}))
    return [f"{Path(p.file).name}: {p.source[p.column - 1 :]}: {p.message}" for p in found]


@pytest.mark.parametrize("gate", [TWICE, UNUSED])
@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("request: {get: '/{proces}'}", "{proces}'}: unknown variable 'proces'"),
        ("request: {get: '/{new}'}", "{new}'}: unknown variable 'new'"),
        ("{request: {get: /}, as: admni}", "admni}: unknown actor 'admni' in target 'shop'"),
        ("kill: wbe", "wbe: unknown process 'wbe' in target 'shop'"),
        ("{request: {get: /}, expect: {exit: 0}}", "0}}: `request` does not observe 'exit'"),
        ("query: x", "query: x: `query` needs either `sql` or `digests: true`"),
    ],
)
def test_what_is_wrong_inside_is_told_once_in_its_own_file(
    step: str, problem: str, gate: str, tmp_path: Path
) -> None:
    (found,) = said(tmp_path, f"  - {step}\n", gate)
    assert found.startswith(f"restart.yaml: {problem}")


def test_what_a_gate_has_captured_is_no_argument(tmp_path: Path) -> None:
    """`routes` is known where the scenario is used, and so it worked by chance."""
    (found,) = said(tmp_path, "  - request: {get: '/{routes}'}\n")
    assert found == "restart.yaml: {routes}'}: unknown variable 'routes'"


def test_what_it_captures_its_arguments_and_the_target_are_known(tmp_path: Path) -> None:
    steps = (
        "  - {request: {get: '/{process}/{state}/{port.web}/{token.admin}'}, capture: {pid: $.pid}}\n"
        "  - {use: inner, with: {number: '{pid}'}}\n"
        "  - request: {get: '/{given}'}\n"
    )
    inner = "scenario: inner\nargs: [number]\ngives: [given]\nsteps: [{request: {get: '/{number}'}, capture: {given: $.x}}]\n"
    changes = {RESTART: SCENARIO + steps, "specs/scenarios/inner.yaml": inner}
    assert lint(project(tmp_path, changes)) == []
