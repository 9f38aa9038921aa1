"""Two looks at the stopped target around other steps, and what runs afterwards."""

from pathlib import Path

import pytest

from tests.builders.gate_runs import Evidence, run_steps


def changed(evidence: Evidence) -> dict[object, tuple[object, object]]:
    """What is not the same before and after, by item."""
    return {
        row["item"]: (row["before"], row["after"])
        for row in evidence.rows("unchanged")
        if row["before"] is None or row["before"] != row["after"]
    }


def test_what_is_only_read_stays_as_it_is_over_two_restarts(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {start: other, env: {MORE: "{greeting}"}}
          - repeat: {who: [user, nobody]}
            steps:
              - unchanged: "reading of {who}"
                databases: {main: "{state}/trivial.db"}
                files: ["{state}"]
                steps:
                  - request: {get: /token}
                    as: "{who}"
                    capture: {id: $.id}
              - {request: {get: /environment}, to: other, expect: {json: {MORE: hello}}}
              - {request: {get: "/status/20{id}"}, expect: {status: 207}}
        """,
    )
    assert evidence.details() == []
    assert changed(evidence) == {}
    rows = evidence.rows("unchanged")
    assert {(row["step"], str(row["vars"])) for row in rows} == {
        (f"reading of {who}", str({"who": who})) for who in ("user", "nobody")
    }
    assert {(row["kind"], row["item"]) for row in rows} == {
        ("table", "main.sqlite_schema"),
        ("table", "main.effects"),
        ("file", "."),
        ("file", "trivial.db"),
        ("file", "events.jsonl"),
    }
    assert [row["ended_by"] for row in evidence.rows("processes")].count("kill") == 8


def test_what_changes_appears_or_vanishes_is_told_even_when_a_step_fails(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - unchanged: all
            databases: {main: "{state}/trivial.db"}
            files: ["{state}"]
            steps:
              - request: {get: /add}
              - {write: "{state}/new.txt", text: x}
              - {write: "{state}/events.jsonl", absent: true}
              - {request: {get: /status/500}, expect: {status: 200}}
              - {kill: web}
          - {start: web}
          - unchanged: but some
            databases: {main: "{state}/trivial.db"}
            files: ["{state}"]
            without: [effects, new.txt]
            steps:
              - request: {get: /add}
              - {write: "{state}/new.txt", text: "y"}
              - {request: {get: /status/500}, expect: {status: 200}, must: true}
              - request: {get: /add}
        """,
    )
    assert evidence.outcomes() == [
        *[(f"scenario.0.steps.{number}", "ok") for number in range(3)],
        ("scenario.0.steps.3", "failed"),
        ("scenario.0.steps.4", "ok"),
        ("scenario.0", "ok"),
        ("scenario.1", "ok"),
        ("scenario.2.steps.0", "ok"),
        ("scenario.2.steps.1", "ok"),
        ("scenario.2.steps.2", "failed"),
        ("scenario.2.steps.3", "skipped"),
        ("scenario.2", "failed"),
    ]
    found = changed(evidence)
    assert set(found) == {"main.effects", "new.txt", "events.jsonl"}
    assert found["new.txt"][0] is None
    assert found["events.jsonl"][1] is None
    assert [str(text)[:7] for text in found["main.effects"]] == ["1 rows ", "3 rows "]
    assert {row["step"] for row in evidence.rows("unchanged")} == {"all", "but some"}


@pytest.mark.parametrize(("after", "lives"), [("", 2), ("- {request: {get: /readyz}}", 3)])
def test_at_the_end_of_a_gate_nothing_is_started_again(
    after: str, lives: int, tmp_path: Path
) -> None:
    evidence = run_steps(
        tmp_path,
        f"""
        control: [{{pause: 1ms}}]
        scenario:
          - unchanged: reading
            files: ["{{state}}"]
            steps: [{{request: {{get: /readyz}}}}]
          {after}
        """,
    )
    assert evidence.details() == []
    assert changed(evidence) == {}
    assert len(evidence.rows("processes")) == lives
    assert [row["outcome"] for row in evidence.requests()] == ["ok"] * (lives - 1)


def test_what_cannot_be_looked_at_is_an_error_and_leaves_nothing_stopped(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - unchanged: misspelt
            files: ["{state}/event.jsonl"]
            steps: [{pause: 1ms}]
          - unchanged: elsewhere
            files: ["{root}"]
            steps: [{pause: 1ms}]
          - unchanged: no database
            databases: {main: "{state}/events.jsonl"}
            steps: [{pause: 1ms}]
          - {request: {get: /readyz}, expect: {status: 200}}
        """,
    )
    outcomes = dict(evidence.outcomes())
    assert [outcomes[f"scenario.{n}"] for n in range(4)] == ["error", "error", "error", "ok"]
    misspelt, elsewhere, no_database = map(str, evidence.details())
    assert "event.jsonl does not exist, so nothing can be said of it" in misspelt
    assert "is not in the state directory" in elsewhere
    assert "events.jsonl cannot be read" in no_database
    assert evidence.rows("unchanged") == []
