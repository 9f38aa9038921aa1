"""Proofs that prove nothing: runs of defects and shams that look like what was wanted."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from chaos.errors import HarnessError
from gates.judge.result import AssertionResult, FaultResult, Finding, GateVerdict, Status
from gates.mutants.evaluate import outcome_of_gate, tally
from gates.prove.copies import apply, copy_sources, edited_lines, links_below
from gates.prove.evaluate import GateProof, Kind, Trial, evaluate
from gates.prove.jobs import jobs_of
from gates.run.bytecode import compile_sources
from gates.spec.gate import Defect
from gates.spec.guards import guarded, modules
from tests.builders.small_project import project

ONE, TWO = "all is well", "it is fast"
DEFECT = Defect(defect="d", file="shop/app.py", replace="True", with_="False", fails=[ONE])
Tried = tuple[Trial, GateVerdict]


def result(that: str, status: Status) -> AssertionResult:
    return AssertionResult(
        that=that,
        status=status,
        measured=0,
        expectation="",
        population=20,
        at_least=10,
        violating=None,
        rows=[],
        sql="",
        why=status,
    )


def verdict(
    one: Status = "PASS",
    two: Status = "PASS",
    *,
    run_id: str | None = "r",
    found: Sequence[Finding] = (),
    faults: Sequence[FaultResult] = (),
    mode: str = "healthy",
) -> GateVerdict:
    status = "PASS" if (one, two) == ("PASS", "PASS") and not found else "FAIL"
    return GateVerdict(
        gate="g",
        id="G1",
        run_id=run_id,
        mode=mode,
        status=status,  # type: ignore[arg-type]
        detail="",
        assertions=[result(ONE, one), result(TWO, two)],
        faults=list(faults),
        findings=list(found),
    )


def trial(kind: Kind, seed: int = 46, *, executed: bool | None = True) -> Trial:
    is_defect = kind == "defect"
    return Trial(
        gate="g",
        kind=kind,
        defect="d" if is_defect else None,
        seed=seed,
        run_id=f"{kind}-{seed}",
        diff="",
        executed=executed if is_defect else None,
    )


CONTROL = (trial("control"), verdict())
RED = (trial("defect"), verdict("FAIL", mode="defect"))
SHAM = (trial("sham"), verdict("PASS", "FAIL", mode="sham"))


def proof(
    *tried: Tried,
    defect: Defect = DEFECT,
    by_sham: Sequence[str] = (TWO,),
    faulted: bool = True,
    stale: Mapping[str, str] = MappingProxyType({}),
) -> GateProof:
    return evaluate("g", [ONE, TWO], by_sham, [defect], tried, needs_sham=faulted, stale=stale)


def test_with_everything_seen_it_is_proven() -> None:
    """Else no case below would show anything."""
    found = proof(CONTROL, RED, SHAM)
    assert (found.proven, found.why) == (True, None)
    assert found.killed_by == {ONE: ["d"], TWO: ["sham"]}


UNPROVEN_FAULT = FaultResult(
    fault="outage",
    kind="cut",
    link="a->b",
    direction="both",
    attributes={},
    proven=False,
    on_ms=None,
    proven_ms=None,
    off_ms=None,
    clean_ms=None,
    own_before=0,
    why="nothing was refused",
)
BROKEN = Finding("UNKNOWN", "run", "the run is broken")
BAD_CONTROL = Finding("UNKNOWN", "control", "control.0 failed")

HOLLOW = {
    "no control": ([RED, SHAM], "1 of its trials are missing"),
    "control fails": ([(trial("control"), verdict("FAIL")), RED, SHAM], "without a defect is FAIL"),
    "one of two controls fails": (
        [CONTROL, (trial("control", 47), verdict("FAIL")), RED, SHAM],
        "without a defect is FAIL",
    ),
    "control of a target that did not start": (
        [(trial("control"), verdict(found=[BROKEN])), RED, SHAM],
        "without a defect is FAIL",
    ),
    "no defect was run": ([CONTROL, SHAM], "1 of its trials are missing"),
    "nothing was run": ([], "3 of its trials are missing"),
    "nothing is red": ([CONTROL, (trial("defect"), verdict()), SHAM], "is PASS, not FAIL"),
    "unknown is no kill": (
        [CONTROL, (trial("defect"), verdict("UNKNOWN")), SHAM],
        "is UNKNOWN, not FAIL",
    ),
    "more is red than was said": (
        [CONTROL, (trial("defect"), verdict("FAIL", "FAIL")), SHAM],
        "should be untouched",
    ),
    "the others are not known": (
        [CONTROL, (trial("defect"), verdict("FAIL", "UNKNOWN")), SHAM],
        "should be untouched",
    ),
    "another one is red": (
        [CONTROL, (trial("defect"), verdict("PASS", "FAIL")), SHAM],
        "is PASS, not FAIL",
    ),
    "the edit was never executed": (
        [CONTROL, (trial("defect", executed=False), RED[1]), SHAM],
        "no edited line was executed",
    ),
    "nobody knows whether it was executed": (
        [CONTROL, (trial("defect", executed=None), RED[1]), SHAM],
        "no edited line was executed",
    ),
    "the target did not start": (
        [CONTROL, (trial("defect"), verdict("FAIL", found=[BROKEN])), SHAM],
        "the run shows nothing",
    ),
    "its control steps failed": (
        [CONTROL, (trial("defect"), verdict("FAIL", found=[BAD_CONTROL])), SHAM],
        "the run shows nothing",
    ),
    "its fault was not proven": (
        [CONTROL, (trial("defect"), verdict("FAIL", faults=[UNPROVEN_FAULT])), SHAM],
        "the run shows nothing",
    ),
    "there is no such run": (
        [CONTROL, (trial("defect"), verdict("FAIL", run_id=None)), SHAM],
        "d: ",
    ),
    "no sham": ([CONTROL, RED], "1 of its trials are missing"),
    "a sham in which all passes": (
        [CONTROL, RED, (trial("sham"), verdict(mode="sham"))],
        "the gate does not need its faults",
    ),
    "a sham that does not kill what it should": (
        [CONTROL, RED, (trial("sham"), verdict("FAIL", mode="sham"))],
        f"{TWO!r} did not fail",
    ),
    "a sham in which all is unknown": (
        [CONTROL, RED, (trial("sham"), verdict("UNKNOWN", "UNKNOWN", mode="sham"))],
        "the gate does not need its faults",
    ),
    "a sham that broke": (
        [CONTROL, RED, (trial("sham"), verdict("FAIL", "FAIL", found=[BROKEN], mode="sham"))],
        "the run shows nothing",
    ),
}


@pytest.mark.parametrize(("tried", "said"), HOLLOW.values(), ids=HOLLOW)
def test_it_is_not_proven(tried: list[Tried], said: str) -> None:
    found = proof(*tried)
    assert not found.proven
    assert said in str(found.why)


def test_what_is_missing_is_told_from_what_is_wrong() -> None:
    """Nobody is sent to make trials that would change nothing."""
    assert (proof(CONTROL, SHAM).proven, proof(CONTROL, SHAM).missing) == (None, 1)
    hollow = proof(CONTROL, (trial("defect", executed=False), RED[1]))
    assert (hollow.proven, hollow.missing) == (False, 1)
    # No trial that is missing would kill it.
    unkilled = proof(CONTROL, by_sham=())
    assert (unkilled.proven, unkilled.missing) == (False, 2)
    assert unkilled.why == f"nothing kills {TWO!r}; 2 of its trials are missing"


def test_every_assertion_has_its_killer() -> None:
    found = proof(CONTROL, RED, faulted=False)
    assert not found.proven
    assert found.why == f"nothing kills {TWO!r}"
    # A proof that lacks something kills nothing, however red it was.
    unexecuted = (trial("defect", executed=False), RED[1])
    assert proof(CONTROL, unexecuted, SHAM).killed_by[ONE] == []


RACING = msgspec.structs.replace(DEFECT, racing=True)


def with_seeds(kind: Kind, seeds: Sequence[int], each: GateVerdict) -> list[Tried]:
    return [(trial(kind, seed), each) for seed in seeds]


@pytest.mark.parametrize(
    ("controls", "reds", "said"),
    [
        (range(5), range(5), None),
        (range(5), range(4), "1 of its trials are missing"),
        (range(5), [46] * 5, "4 of its trials are missing"),
        (range(4), range(5), "1 of its trials are missing"),
        ([46] * 5, range(5), "4 of its trials are missing"),
    ],
)
def test_what_shows_by_timing_is_seen_with_five_seeds_of_five(
    controls: Sequence[int], reds: Sequence[int], said: str | None
) -> None:
    tried = [*with_seeds("control", controls, CONTROL[1]), *with_seeds("defect", reds, RED[1])]
    found = proof(*tried, SHAM, defect=RACING)
    assert found.proven is (True if said is None else None)
    assert said is None or said in str(found.why)


def test_one_race_that_was_won_is_no_proof() -> None:
    tried = [*with_seeds("control", range(5), CONTROL[1]), *with_seeds("defect", range(4), RED[1])]
    found = proof(*tried, (trial("defect", 4), verdict()), SHAM, defect=RACING)
    assert not found.proven


def test_every_trial_that_is_needed_is_run(tmp_path: Path) -> None:
    gate = project(tmp_path).gates["first"]
    racing = [msgspec.structs.replace(defect, racing=True) for defect in gate.falsified_by]
    jobs = jobs_of(msgspec.structs.replace(gate, falsified_by=racing), 46)
    assert sorted((job.kind, job.seed) for job in jobs) == sorted(
        [
            *(("control", seed) for seed in range(46, 51)),
            *(("defect", seed) for seed in range(46, 51)),
            ("sham", 46),
        ]
    )


def test_a_stale_defect_is_not_proven_whatever_was_seen_of_it() -> None:
    found = proof(CONTROL, RED, SHAM, stale={"d": "stale: the text does not occur"})
    assert not found.proven
    assert found.why == f"d: stale: the text does not occur; nothing kills {ONE!r}"


def test_of_a_stale_defect_no_trial_is_asked_for(tmp_path: Path) -> None:
    gate = project(tmp_path).gates["first"]
    kinds = [job.kind for job in jobs_of(gate, 46, {"all is refused": "stale"})]
    assert kinds == ["control", "sham"]


# -- copies


def source(root: Path, text: str) -> Path:
    (root / "shop").mkdir(parents=True, exist_ok=True)
    (root / "shop" / "app.py").write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("text", ["allowed = 1\n", "allowed = True or True\n"])
def test_a_defect_whose_text_is_not_there_once_is_stale(tmp_path: Path, text: str) -> None:
    with pytest.raises(HarnessError, match="is stale"):
        apply(DEFECT, source(tmp_path, text))
    assert (tmp_path / "shop" / "app.py").read_text() == text


def run(root: Path) -> str:
    found = subprocess.run(
        [sys.executable, "-c", "from shop import app; print(app.allowed)"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        },
    )
    return found.stdout.strip()


def test_a_copy_never_runs_what_was_compiled_before(tmp_path: Path) -> None:
    """An edit of the same size within the same second is the same file to Python, but for its bytecode."""
    root = source(tmp_path / "root", "allowed = 10\n")
    path = root / "shop" / "app.py"
    assert run(root) == "10"
    assert list((root / "shop").glob("__pycache__/*.pyc"))
    times = path.stat()
    copy_sources(root, ["shop"], tmp_path / "copy")
    copied = tmp_path / "copy" / "shop" / "app.py"
    edit = Defect(defect="d", file="shop/app.py", replace="10", with_="20", fails=[ONE])
    apply(edit, tmp_path / "copy")
    os.utime(copied, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert copied.stat().st_size == times.st_size
    assert run(tmp_path / "copy") == "20"


@pytest.mark.parametrize("absolute", [True, False])
def test_an_edit_through_a_link_never_reaches_the_original(tmp_path: Path, absolute: bool) -> None:
    root = source(tmp_path / "root", "allowed = 10\n")
    original = root / "shop" / "app.py"
    (root / "shop" / "link.py").symlink_to(original if absolute else Path("app.py"))
    (root / "shop" / "inner").mkdir()
    (root / "shop" / "also").symlink_to(root / "shop" / "inner" if absolute else Path("inner"))
    copy_sources(root, ["shop"], tmp_path / "copy")
    edit = Defect(defect="d", file="shop/link.py", replace="10", with_="20", fails=[ONE])
    apply(edit, tmp_path / "copy")
    assert original.read_text() == "allowed = 10\n"
    assert (tmp_path / "copy" / "shop" / "link.py").read_text() == "allowed = 20\n"
    assert not list(links_below(tmp_path / "copy"))


@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../other.py", "..", ".", "nowhere"])
def test_a_link_that_no_copy_can_hold_is_refused(tmp_path: Path, leads_to: str) -> None:
    root = source(tmp_path / "root", "allowed = 10\n")
    (root / "other.py").write_text("allowed = 10\n")
    (root / "shop" / "link").symlink_to(leads_to)
    with pytest.raises(HarnessError, match=f"shop/link is a link to {leads_to}, which no copy"):
        copy_sources(root, ["shop"], tmp_path / "copy")


def test_the_source_may_be_one_file(tmp_path: Path) -> None:
    root = source(tmp_path / "root", "allowed = 10\n")
    copy_sources(root, ["shop/app.py"], tmp_path / "copy")
    assert (tmp_path / "copy" / "shop" / "app.py").read_text() == "allowed = 10\n"


def test_a_copy_that_was_compiled_anew_runs_what_it_holds(tmp_path: Path) -> None:
    """Its bytecode is believed for the very content that it was made from, whatever time the file has."""
    root = source(tmp_path, "allowed = 10\n")
    path = root / "shop" / "app.py"
    compile_sources(root, ["shop", "none"])
    assert list((root / "shop").glob("__pycache__/*.pyc"))
    times = path.stat()
    path.write_text("allowed = 20\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run(root) == "20"
    path.write_text("allowed =\n")
    compile_sources(root, ["shop"])


def test_lines_beside_the_edit_are_not_the_edit() -> None:
    before = "def a():\n    x = 1\n    return x\n\ndef b():\n    return 2\n"
    assert edited_lines(before, before.replace("return 2", "return 3")) == (6,)
    assert edited_lines(before, before.replace("x = 1", "x = 9")) == (2,)


# -- mutants that nobody was told of


@pytest.mark.parametrize(
    ("status", "measured", "late", "outcome"),
    [
        ("FAIL", True, False, "killed"),
        ("UNKNOWN", True, False, "survived"),
        ("UNKNOWN", True, True, "timed out"),
        ("UNKNOWN", False, False, "not viable"),
    ],
)
def test_unknown_is_no_kill(status: str, measured: bool, late: bool, outcome: str) -> None:
    assert outcome_of_gate(status, measured=measured, late=late) == outcome


def test_a_gate_is_asked_about_what_it_guards_and_the_tests_about_all_else(tmp_path: Path) -> None:
    for name in ("service/auth/roles.py", "service/auth/tokens.py", "service/clock.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(
            "A = 1\n\n\nclass B:\n    @property\n    def c(self): return 1\n"
        )
    code = guarded(
        ["service/auth/roles.py:B.c", "service/auth/roles.py:B.d", "service/clock.py"], tmp_path
    )
    assert [line for line in range(1, 8) if code.covers("service/auth/roles.py", line)] == [5, 6]
    assert code.covers("service/clock.py", 1) and not code.covers("service/auth/tokens.py", 1)
    left = [name for name in modules(["service"], tmp_path) if code.leaves(name)]
    assert left == ["service/auth/roles.py", "service/auth/tokens.py"]
    whole = guarded(
        ["service/auth/roles.py:B", "service/auth", "service/auth/roles.py:B"], tmp_path
    )
    assert not whole.leaves("service/auth/roles.py") and whole.leaves("service/clock.py")


def test_of_no_mutants_no_share_is_told() -> None:
    found = tally([], 7)
    assert (found.share, found.share_without_equivalent, found.unreached) == (None, None, 7)
