"""What stands once for many steps is what each of them would have said."""

from pathlib import Path

import pytest

from chaos.engine.plan import walk
from chaos.spec.loader import load
from chaos.spec.step import Bearer, Defaults, Spec, Step
from chaos.spec.target import Actor, LinkSpec, ProcessSpec, Target
from chaos.spec.units import Duration
from chaos.steps.use import Use
from gates.formats.explain import in_full
from gates.lint.gate import lint
from gates.spec.defaults import Spreader
from gates.spec.project import CHOOSERS
from tests.builders.small_project import GATE, SCENARIO, project

FIRST, RESTART = "specs/gates/a/first.yaml", "specs/scenarios/restart.yaml"


LINKED = Target(
    target="linked",
    actors={"user": Actor(), "nobody": Actor()},
    processes={"web": ProcessSpec(run="web", port=8000)},
    links={"client->web": LinkSpec(to="web")},
)


class Steps(Spec, frozen=True, kw_only=True):
    """Steps with the defaults of their file."""

    defaults: Defaults | None = None
    steps: list[Step]


def spread(text: str, tmp_path: Path) -> dict[str, tuple[object, object, object, str | None]]:
    """Who, to, via and within of every step by its id; all that is wrong with the text raises."""
    path = tmp_path / "steps.yaml"
    path.write_text(text)
    read, document = load(path, Steps, CHOOSERS)
    spreader = Spreader(LINKED, document)
    steps = spreader.spread(read.steps, spreader.usable(read.defaults, ("defaults",)), ("steps",))
    document.raise_problems()
    return {
        step_id: (step.as_, step.to, step.via, str(step.within) if step.within else None)
        for step_id, step in walk(tuple(steps), "")
    }


def test_every_step_that_sends_takes_what_it_does_not_say(tmp_path: Path) -> None:
    found = spread(
        """
        defaults: {as: user, to: web, within: 2s}
        steps:
          - request: {get: /}
          - {request: {get: /}, as: nobody, within: 1s}
          - {request: {get: /}, via: client->web}
          - {await: {get: /}, expect: {status: 200}}
          - {load: some, clients: 1, for: 1s, send: {get: /}, meanwhile: [{request: {get: /}}]}
          - {stream: one, open: /, meanwhile: [{pause: 1s}]}
          - {run: "true"}
          - {kill: web}
          - {pause: 1s}
          - parallel: [[{request: {get: /}}], [{pause: 1s}]]
        """,
        tmp_path,
    )
    plain = ("user", "web", None, "2s")
    nothing = (None, None, None, None)
    assert found == {
        ".0": plain,
        ".1": ("nobody", "web", None, "1s"),
        ".2": ("user", None, "client->web", "2s"),
        ".3": plain,
        ".4": plain,
        ".4.meanwhile.0": plain,
        ".5": plain,
        ".5.meanwhile.0": nothing,
        ".6": (None, None, None, "20s"),
        ".7": nothing,
        ".8": nothing,
        ".9": nothing,
        ".9.parallel.0.0": plain,
        ".9.parallel.1.0": nothing,
    }


def test_nearer_defaults_go_before_those_further_out(tmp_path: Path) -> None:
    found = spread(
        """
        defaults: {as: user, to: web}
        steps:
          - repeat: 2
            defaults: {via: client->web}
            steps:
              - request: {get: /}
              - repeat: {who: [user]}
                defaults: {as: "{who}", within: 1s}
                steps: [{request: {get: /}}]
              - {request: {get: /}, to: web}
          - request: {get: /}
        """,
        tmp_path,
    )
    assert found[".0.steps.0"] == ("user", None, "client->web", None)
    assert found[".0.steps.1.steps.0"] == ("{who}", None, "client->web", "1s")
    assert found[".0.steps.2"] == ("user", "web", None, None)
    assert found[".1"] == ("user", "web", None, None)


def test_an_actor_may_be_made_up(tmp_path: Path) -> None:
    found = spread(
        "defaults: {as: {bearer: x, label: y}}\nsteps: [{request: {get: /}}]\n", tmp_path
    )
    assert found[".0"][0] == Bearer(bearer="x", label="y")


def gate(defaults: str) -> str:
    return GATE.replace("control:", f"defaults: {defaults}\ncontrol:")


def said(root: Path, first: str, scenario: str = SCENARIO) -> list[str]:
    """What stands at the place, message and hint of every problem."""
    found = lint(project(root, {FIRST: first, RESTART: scenario}))
    return [f"{p.source[p.column - 1 :]}: {p.message} ({p.hint})" for p in found]


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (gate("{as: admni}"), "admni}: unknown actor 'admni' (admin)"),
        (gate("{to: wbe}"), "wbe}: unknown process 'wbe' (web)"),
        (gate("{via: client->wbe}"), "client->wbe}: unknown link 'client->wbe' (client->web)"),
        (
            gate("{to: web, via: client->web}"),
            "web, via: client->web}: go `to` a process directly or `via` a link, not both (None)",
        ),
        (
            GATE.replace("    as: admin\n", "    defaults: {as: admin}\n"),
            "{as: admin}: `defaults` are for steps below them, and there are none (None)",
        ),
        (
            GATE.replace("with: {process: web}", "with: {process: web}\n    defaults: {as: admin}"),
            "{as: admin}: `defaults` are for steps below them, and there are none (None)",
        ),
    ],
)
def test_what_is_wrong_with_defaults_is_told_once_where_they_stand(
    first: str, problem: str, tmp_path: Path
) -> None:
    assert said(tmp_path, first) == [problem]


def test_a_scenario_takes_its_own_defaults_and_not_those_of_the_gate(tmp_path: Path) -> None:
    scenario = SCENARIO.replace("steps:", "defaults: {within: 9s}\nsteps:\n  - request: {get: /}")
    changes: dict[str, str | None] = {FIRST: gate("{as: nobody}"), RESTART: scenario}
    read = project(tmp_path, changes)
    assert lint(read) == []
    first = read.gates["first"]
    use = first.scenario[3]
    assert isinstance(use, Use)
    assert (use.steps[0].as_, use.steps[0].within) == (None, Duration("9s"))
    assert first.control[0].as_ == "nobody"
    assert "as `nobody`" in "\n".join(in_full(first, read.targets["shop"]))


def test_a_gate_with_defaults_is_the_gate_without_that_says_it_everywhere(tmp_path: Path) -> None:
    with_them = project(tmp_path / "a", {FIRST: gate("{as: admin}")}).gates["first"]
    sent = GATE.replace("{get: /ready}\n    expect", "{get: /ready}\n    as: admin\n    expect")
    sent = sent.replace("load: many\n", "load: many\n    as: admin\n").replace(
        "via: client->web\n    expect", "via: client->web\n    as: admin\n    expect"
    )
    without = project(tmp_path / "b", {FIRST: sent}).gates["first"]
    assert with_them.control == without.control
    assert with_them.scenario == without.scenario
