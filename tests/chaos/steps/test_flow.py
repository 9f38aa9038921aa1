"""Repeating, branching, using, and stopping; every planned step is accounted for."""

from pathlib import Path

import msgspec
import pytest

from chaos.engine.plan import all_steps
from chaos.steps.use import Use
from tests.builders.gate_runs import Evidence, Steps, plan, run, run_steps


def test_a_number_of_passes_counts_from_zero(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - repeat: 3
            steps:
              - request: {get: "/status/20{i}"}
                capture: {inner: $.status}
          - request: {get: "/{inner}"}
        """,
    )
    rows = evidence.requests()
    assert [(row["status"], row["vars"]) for row in rows] == [(200 + i, {"i": i}) for i in range(3)]
    assert evidence.outcomes() == [
        *[("scenario.0.steps.0", "ok")] * 3,
        ("scenario.0", "ok"),
        ("scenario.1", "error"),
    ]
    assert evidence.rows("steps")[3]["iterations"] == 3
    assert evidence.details() == ["nothing has set the variable 'inner'"]


def test_the_cross_product_of_lists_in_their_order(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {get: /token}
            capture: {id: $.id}
          - repeat: {actor: [user, nobody], route: [{path: /echo, n: 1}, {path: /asked, n: 2}]}
            steps:
              - repeat: 2
                steps:
                  - request: {get: "{route.path}"}
                    as: "{actor}"
                    name: "{actor}-{route.n}"
        """,
    )
    rows = evidence.requests()[1:]
    assert [row["step"] for row in rows] == [
        f"{actor}-{n}" for actor in ("user", "nobody") for n in (1, 2) for _ in range(2)
    ]
    assert rows[3]["vars"] == {"actor": "user", "route": {"path": "/asked", "n": 2}, "i": 1}
    iterations = {row["step"]: row["iterations"] for row in evidence.rows("steps")}
    assert iterations["scenario.1"] == 4
    assert iterations["scenario.1.steps.0"] == 2


@pytest.mark.parametrize(
    ("repeat", "detail"),
    [
        ("0", "repeats nothing"),
        ("{a: [1, 2], b: []}", "repeats nothing"),
        ("{a: '{empty}'}", "there was nothing to repeat: a list is empty"),
        ("{a: 5}", "'a' is not a list, so it cannot be repeated over"),
        ("{a: '{nobody}'}", "nothing has set the variable 'nobody'"),
        ("1000000", "more than 20000 passes of all `repeat` of a gate"),
    ],
)
def test_what_cannot_be_repeated_is_an_error(tmp_path: Path, repeat: str, detail: str) -> None:
    evidence = run_steps(
        tmp_path, f"scenario: [{{repeat: {repeat}, steps: [{{pause: 1ms}}]}}]\n", needs=[]
    )
    assert evidence.outcomes() == [("scenario.0", "error")]
    assert evidence.details() == [detail]


def test_branches_run_at_the_same_time_and_at_counts_from_their_start(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - parallel:
              - - pause: 150ms
                - request: {get: /asked}
                  name: late
              - - request: {get: /asked}
                  name: early
          - pause: 50ms
            at: 100ms
          - request: {get: /asked}
            at: 400ms
            name: at
        """,
    )
    assert evidence.details() == []
    began = {row["step"]: row["sent_ms"] for row in evidence.requests()}
    assert list(began) == ["early", "late", "at"]
    first = min(float(str(row["began_ms"])) for row in evidence.rows("steps"))
    assert float(str(began["at"])) - first >= 400


def test_a_step_that_must_succeed_stops_the_scenario_and_the_rest_is_recorded_as_skipped(
    tmp_path: Path,
) -> None:
    made = plan(
        tmp_path,
        """
        control:
          - request: {get: /readyz}
        scenario:
          - parallel:
              - - request: {get: /status/500}
                  expect: {status: 200}
                  must: true
                - repeat: 2
                  steps: [{pause: 1ms}]
              - - request: {get: /asked}
                  name: branch
          - pause: 1ms
          - parallel: [[{pause: 1ms}], [{pause: 1ms}]]
        """,
    )
    (evidence,) = run(made)
    assert dict(evidence.outcomes()) == {
        "control.0": "ok",
        "scenario.0.parallel.0.0": "failed",
        "scenario.0.parallel.0.1": "skipped",
        "scenario.0.parallel.0.1.steps.0": "skipped",
        "scenario.0.parallel.1.0": "ok",
        "scenario.0": "failed",
        "scenario.1": "skipped",
        "scenario.2": "skipped",
        "scenario.2.parallel.0.0": "skipped",
        "scenario.2.parallel.1.0": "skipped",
    }
    assert_accounted(evidence)
    assert evidence.end == ("completed", None)


def test_a_failure_alone_does_not_hide_the_others(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {get: /status/500}
            expect: {status: 200}
          - request: {get: /status/404}
            expect: {status: 200}
          - request: {get: /readyz}
            expect: {status: 200}
        """,
    )
    assert [outcome for _, outcome in evidence.outcomes()] == ["failed", "failed", "ok"]
    assert_accounted(evidence)


def test_a_scenario_whose_control_failed_is_skipped(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        control:
          - request: {get: /status/500}
            expect: {status: 200}
          - request: {get: /readyz}
        scenario:
          - repeat: 2
            steps: [{request: {get: /readyz}}]
        """,
    )
    assert evidence.outcomes() == [
        ("control.0", "failed"),
        ("control.1", "ok"),
        ("scenario.0", "skipped"),
        ("scenario.0.steps.0", "skipped"),
    ]
    assert_accounted(evidence)


def test_a_scenario_is_used_with_arguments_of_its_own(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        """
        scenario:
          - request: {get: /token}
            capture: {id: $.id}
          - use: other-file
            with: {code: "20{id}"}
          - request: {get: "/{inner}"}
        """,
    )
    inner = plan(
        tmp_path,
        """
        scenario:
          - request: {get: "/status/{code}"}
            capture: {inner: $.status}
        """,
    ).scenario
    first, use, last = made.scenario
    assert isinstance(use, Use)
    filled = msgspec.structs.replace(use, steps=list(inner))
    (evidence,) = run(msgspec.structs.replace(made, scenario=(first, filled, last)))
    assert [row["status"] for row in evidence.requests()] == [200, 207]
    assert evidence.details() == ["nothing has set the variable 'inner'"]


def test_a_scenario_sets_what_it_gives_and_nothing_else(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        """
        scenario:
          - use: other-file
          - request: {get: "/status/20{given}"}
            as: {bearer: "{token.given}", label: somebody}
          - use: other-file
          - request: {get: "/{kept}"}
        """,
    )
    inner = plan(
        tmp_path,
        """
        scenario:
          - request: {get: /token}
            capture: {given: $.id, kept: $.id, token.given: $.token}
          - request: {get: /status/500}
            expect: {status: 200}
            capture: {absent: $.nothing}
        """,
    ).scenario
    first, second, third, fourth = made.scenario
    uses = [
        msgspec.structs.replace(use, steps=list(inner), gives=["given", "token.given", "absent"])
        for use in (first, third)
    ]
    scenario = (uses[0], second, uses[1], fourth)
    (evidence,) = run(msgspec.structs.replace(made, scenario=scenario))
    rows = evidence.requests()
    assert [row["status"] for row in rows] == [200, 500, 207, 200, 500]
    assert b"issued-token-abcdef" not in evidence.written()
    outcomes = dict(evidence.outcomes())
    assert [outcomes[f"scenario.{number}"] for number in range(4)] == ["ok", "ok", "ok", "error"]
    assert evidence.details()[-1] == "nothing has set the variable 'kept'"


def test_variables_are_filled_in_wherever_a_step_has_texts(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - repeat: {who: [X-Who], file: ["{state}/{{new}}.txt"], table: [effects], process: [web]}
            steps:
              - request: {get: /echo, headers: {"{who}": "{{who}}"}}
                as: {bearer: x, label: "l-{who}", role: "r-{who}"}
                name: "asked by {who}"
                expect: {json: {headers: {x-who: "{{who}}"}}}
              - {write: "{file}", text: '{"a": {"b": {{1}}}}'}
              - {corrupt: "{file}", append: "{process}"}
              - {run: "cat '{file}'", env: {"{process}": x}, expect: {output: '{"a": {"b": {1}}}web'}}
              - {watch: looks, processes: ["{process}"], meanwhile: [{pause: 1ms}]}
              - {kill: "{process}"}
              - {start: "{process}", clock_offset: 0s, env: {"{table}": "{table}"}}
              - {clock: "{process}", offset: 1s}
              - {request: {get: /environment}, expect: {json: {effects: effects}}}
              - {kill: "{process}"}
              - {query: "{state}/trivial.db", digests: true, without: ["{table}"], name: left}
        """,
        config={"place": "{state}", "deep": {"seed": "{seed}"}},
    )
    assert evidence.details() == []
    (asked,) = [row for row in evidence.requests() if row["path"] == "/echo"]
    assert (asked["actor"], asked["role"]) == ("l-X-Who", "r-X-Who")
    assert "asked by X-Who" in [row["name"] for row in evidence.rows("steps")]
    assert {row["process"] for row in evidence.rows("process_samples")} == {"web"}
    assert [row["row"]["table"] for row in evidence.rows("rows")] == ["sqlite_schema"]  # type: ignore[index]


def test_the_configuration_of_a_gate_may_speak_of_the_state(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        "scenario: [{request: {get: /config}, expect: {text: '/place: \\/.*\\/state\\n/'}}]\n",
        config={"place": "{state}"},
    )
    assert evidence.details() == []


def test_ids_of_steps_say_where_they_stand(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        """
        control: [{pause: 1ms}]
        scenario:
          - parallel: [[], [{pause: 1ms}, {repeat: 2, steps: [{pause: 1ms}]}]]
        """,
        needs=[],
    )
    assert [step_id for step_id, _ in all_steps(made)] == [
        "control.0",
        "scenario.0",
        "scenario.0.parallel.1.0",
        "scenario.0.parallel.1.1",
        "scenario.0.parallel.1.1.steps.0",
    ]
    assert Steps() == Steps(control=[], scenario=[])


def assert_accounted(evidence: Evidence) -> None:
    """Every planned step has ended, each exactly once here."""
    (begun,) = evidence.rows("runs")
    planned = begun["planned"]
    assert isinstance(planned, list)
    assert sorted(planned) == sorted(str(step) for step, _ in evidence.outcomes())
