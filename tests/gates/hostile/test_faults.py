"""Faults that were not: without effect, past their link, never ended, or shams."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from chaos.evidence import schema
from chaos.evidence.recorder import as_json
from chaos.evidence.schema import LinkProbe
from chaos.evidence.sealing import Loader
from chaos.faults import FAULTS, SIGNATURES
from gates.judge.connection import Evidence
from gates.judge.result import GateVerdict
from tests.chaos.faults.test_signatures import RECIPES, Look, Recipe, evidence, proof
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

NewRun = Callable[..., Run]
SPEC = judged(assertion(every="status = 200"), faults=["outage"])
LINK = "gateway->memory"
kinds = pytest.mark.parametrize("kind", FAULTS)


# -- without effect, by the probes alone


@kinds
def test_a_link_that_stays_as_it_was(kind: str) -> None:
    recipe = RECIPES[kind]
    well = Recipe(recipe.attributes, Look(), recipe.pairs, established=recipe.established)
    assert proof(kind, evidence(well)) is not None


@kinds
def test_a_system_that_is_slow_or_gone_by_itself(kind: str) -> None:
    """What is seen past the link as well is not the link's doing."""
    recipe = RECIPES[kind]
    both = Recipe(recipe.attributes, recipe.on, recipe.pairs, recipe.on, recipe.established)
    assert proof(kind, evidence(both)) is not None


@kinds
@pytest.mark.parametrize("phase", ["before", "start", "end", "after"])
def test_a_phase_that_nobody_looked_at(kind: str, phase: str) -> None:
    rows = [row for row in evidence(RECIPES[kind]) if row.phase != phase]
    both = (SIGNATURES[kind].took_hold, SIGNATURES[kind].clean_again)
    assert any(each(RECIPES[kind].attributes, rows) is not None for each in both)


@kinds
def test_a_fault_that_never_went_away(kind: str) -> None:
    on = [row for row in evidence(RECIPES[kind]) if row.phase == "end"]
    after = [msgspec.structs.replace(row, phase="after") for row in on]
    rows = [row for row in evidence(RECIPES[kind]) if row.phase != "after"]
    assert SIGNATURES[kind].clean_again(RECIPES[kind].attributes, [*rows, *after]) is not None


@kinds
def test_a_fault_that_was_there_at_the_start_only(kind: str) -> None:
    well = [row for row in evidence(RECIPES[kind]) if row.phase == "before"]
    end = [msgspec.structs.replace(row, phase="end") for row in well]
    rows = [row for row in evidence(RECIPES[kind]) if row.phase != "end"]
    assert proof(kind, [*rows, *end]) is not None


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("latency", {"latency": 2000, "jitter": 0}),
        ("bandwidth", {"rate": 1}),
        ("slow_close", {"delay": 1000}),
        ("timeout", {"timeout": 3000}),
        ("slicer", {"average_size": 100, "size_variation": 20, "delay": 100_000}),
        ("limit_data", {"bytes": 201}),
    ],
)
def test_less_than_was_asked_for(kind: str, asked: dict[str, float]) -> None:
    assert SIGNATURES[kind].took_hold(asked, evidence(RECIPES[kind])) is not None


# -- in a run


@pytest.fixture
def verdict(live: tuple[Evidence, Loader]) -> Callable[..., GateVerdict]:
    loaded, loader = live

    def judge(*directories: Path) -> GateVerdict:
        loader.load(list(directories))
        loaded.refresh()
        return verdict_of(loaded, SPEC, SIGNATURES)

    return judge


def probed(run: Run, rows: Sequence[LinkProbe]) -> Run:
    for row in rows:
        columns = msgspec.structs.asdict(row)
        given = {name: columns[name] for name in columns if name not in ("run_id", "gate", "seq")}
        run.recorder.add(LinkProbe, **(given | {"link": LINK, "fault": "outage"}))
    return run


def carried(run: Run) -> Run:
    return run.carried(link=LINK, own_connections=3, sent_bytes=100, received_bytes=100)


def cut_off(new_run: NewRun, **changes: object) -> Run:
    """A run in which a cut was seen, as it should be, and asked for, but for its exercise."""
    run = new_run().connected().fault(**changes).request(sent_ms=150.0, done_ms=151.0)
    return probed(run, evidence(RECIPES["cut"]))


def test_a_real_fault_passes(new_run: NewRun, verdict: Callable[..., GateVerdict]) -> None:
    """Else no case below would show anything."""
    assert verdict(carried(cut_off(new_run)).plain().close()).status == "PASS"


def test_a_sham_that_is_presented_as_healthy(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    recipe = RECIPES["cut"]
    nothing = evidence(Recipe(recipe.attributes, Look(), established=True))
    run = probed(new_run().connected().fault(), nothing)
    found = verdict(carried(run).plain().close())
    assert (found.status, found.faults[0].proven) == ("UNKNOWN", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"off_ms": None, "clean_ms": None},
        {"off_ms": None},
        {"clean_ms": None},
        {"proven_ms": None},
        {"proven": False},
        {"own_before": 0},
        {"own_before": -1},
        {"link": "gateway->model"},
        {"kind": "latency", "attributes": as_json({"latency": 200, "jitter": 0})},
        {"kind": "nothing at all"},
        {"fault": "another"},
    ],
    # Without values: raw JSON has no text of its own, and both workers must find the same names.
    ids=" and ".join,
)
def test_a_fault_that_is_not_whole(
    new_run: NewRun, verdict: Callable[..., GateVerdict], changes: dict[str, object]
) -> None:
    run = new_run().connected().fault(**({"fault": "outage"} | changes))
    found = verdict(carried(probed(run, evidence(RECIPES["cut"]))).plain().close())
    assert found.status == "UNKNOWN"


def test_the_probes_of_one_fault_prove_no_second(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = carried(cut_off(new_run)).fault(on_ms=300, proven_ms=310, off_ms=400, clean_ms=410)
    found = verdict(run.plain().close())
    assert [fault.proven for fault in found.faults] == [True, False]
    assert found.status == "UNKNOWN"


def test_a_link_that_was_by_passed(new_run: NewRun, verdict: Callable[..., GateVerdict]) -> None:
    run = carried(cut_off(new_run))
    run.recorder.add(
        schema.LinkBypass, link=LINK, client="127.0.0.1:9", process=None, bypass_ms=150.0
    )
    found = verdict(run.plain().close())
    assert (found.status, "went past the link" in found.detail) == ("UNKNOWN", True)


def test_traffic_of_the_harness_is_not_the_targets_own(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = probed(new_run().connected(own=False).fault(), evidence(RECIPES["cut"]))
    assert verdict(carried(run).plain().close()).status == "UNKNOWN"


def exercised(new_run: NewRun) -> Run:
    run = new_run(gate="exercise-toy", run_id="run-2").begin(planned=["scenario.0"])
    return carried(run).connected().step("scenario.0")


@pytest.mark.parametrize("spoilt", [False, True])
def test_an_exercise_that_was_cut_off_shows_nothing(
    new_run: NewRun, verdict: Callable[..., GateVerdict], spoilt: bool
) -> None:
    exercise = exercised(new_run) if spoilt else exercised(new_run).end()
    found = verdict(cut_off(new_run).plain().close(), exercise.close())
    assert found.status == ("UNKNOWN" if spoilt else "PASS")


@pytest.mark.parametrize("name", ["closings.jsonl", "links.jsonl"])
def test_an_exercise_whose_files_were_changed_shows_nothing(
    new_run: NewRun, verdict: Callable[..., GateVerdict], name: str
) -> None:
    exercise = exercised(new_run).end().close()
    path = exercise / name
    path.write_bytes(path.read_bytes().replace(b'"seq":0', b'"seq":7'))
    if name == "closings.jsonl":
        path.unlink()
    assert verdict(cut_off(new_run).plain().close(), exercise).status == "UNKNOWN"


def test_an_exercise_of_another_target_shows_nothing(
    new_run: NewRun, verdict: Callable[..., GateVerdict]
) -> None:
    run = carried(new_run(gate="exercise-tee", run_id="run-2").begin(target="tee"))
    found = verdict(cut_off(new_run).plain().close(), run.connected().end().close())
    assert (found.status, "no evidence that the link carries" in found.detail) == ("UNKNOWN", True)
