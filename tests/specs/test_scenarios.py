"""The scenarios that gates share do what they say: targets are there, strangers stay out, what they resemble gets in."""

from pathlib import Path

import pytest

from chaos.spec.step import Step
from gates.spec.project import read_project
from gates.spec.resolve import filled_scenario
from tests.builders.gate_runs import Evidence, plan, run, toxiproxy

PROJECT = read_project(Path(__file__).parents[2] / "specs")
STRANGERS = ["expired", "revoked", "rotated", "truncated", "extended", "other_id", "other_secret", "auditor", "loud"]  # fmt: skip


def after(name: str, needs: list[str], steps: str, directory: Path) -> Evidence:
    """What steps see after a scenario."""
    scenario: list[Step] = filled_scenario(PROJECT.scenarios[name].file, PROJECT.scenarios)
    target = PROJECT.targets["sonia"]
    made = plan(
        directory,
        f"scenario:\n{steps}",
        needs,
        target=target,
        control=tuple(scenario),
        toxiproxy=toxiproxy(),
    )
    (evidence,) = run(made)
    assert evidence.end == ("completed", None)
    return evidence


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    asked = "".join(
        f"  - {{request: {{get: /v1/sessions}}, name: tried, as: {{bearer: '{{token.{name}}}', label: {name}}}}}\n"
        for name in [*STRANGERS, "live", "successor"]
    )
    return after("strangers", ["gateway"], asked, tmp_path_factory.mktemp("strangers"))


def test_every_stranger_is_refused(strangers: Evidence) -> None:
    assert strangers.details() == []
    tried = {row["actor"]: row["status"] for row in strangers.requests() if row["step"] == "tried"}
    refused = dict.fromkeys(STRANGERS, 401) | {"auditor": 403, "loud": 403}
    assert {name: tried[name] for name in STRANGERS} == refused


def test_what_they_resemble_gets_in(strangers: Evidence) -> None:
    tried = {row["actor"]: row["status"] for row in strangers.requests() if row["step"] == "tried"}
    assert (tried["live"], tried["successor"]) == (200, 200)


def test_a_scenario_gives_all_that_its_file_says(tmp_path: Path) -> None:
    scenario = PROJECT.scenarios["targets-of-mutation"].file
    given = " ".join(f"{{{name}}}" for name in scenario.gives)
    steps = f"""
  - {{request: {{get: "/v1/sessions/{{session}}"}}, as: operator, expect: {{status: 200}}}}
  - {{request: {{get: "/tasks/{{task}}"}}, as: operator, expect: {{status: 200}}}}
  - {{request: {{get: "/v1/confirmations/{{confirmation}}"}}, as: operator, expect: {{status: 200}}}}
  - {{request: {{delete: "/v1/tokens/{{token_id}}"}}, as: operator, expect: {{status: 204}}}}
  - {{request: {{post: "/v1/dead-letters/{{letter}}/replay"}}, as: operator, expect: {{status: 201}}}}
  - {{request: {{get: "/v1/memory/{{memory}}"}}, as: operator, expect: {{status: 200}}}}
  - {{run: "echo {given}", expect: {{exit: 0}}}}
"""
    assert after(scenario.scenario, ["gateway", "memory", "tools"], steps, tmp_path).details() == []
