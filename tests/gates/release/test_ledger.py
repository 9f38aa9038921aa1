"""The ledger shows what was run before, and what was done to it."""

import hashlib
import itertools
import os
from pathlib import Path

import msgspec
import pytest

from chaos.errors import HarnessError
from gates.release import ledger
from gates.release.ledger import Attempt, Outcome, Past

INPUTS = {"source": "s", "harness": "h", "toxiproxy": "t", "versions": "v", "lock": "l"}


def attempt(session: str, gate: str = "g1", **inputs: str) -> Attempt:
    return Attempt(session=session, at_ms=0.0, inputs={**INPUTS, **inputs}, gates={"a": gate})


def outcome(session: str, status: str) -> Outcome:
    return Outcome(session=session, verdict="HOLD", statuses={"a": status})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for entry in (attempt("1"), outcome("1", "FAIL"), attempt("2"), outcome("2", "PASS")):
        ledger.append(tmp_path, entry)
    return tmp_path / ledger.FILE


def test_what_was_appended_is_read(written: Path) -> None:
    read = ledger.read(written)
    assert read.problems == []
    assert read.lines == 4
    first, second = ledger.outcomes(read.entries)
    assert first[0].session == "1" and first[1] is not None and first[1].statuses == {"a": "FAIL"}
    assert second[0].previous and second[0].inputs == INPUTS


def test_no_ledger_has_no_lines(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "none") == ledger.Ledger(
        entries=[], lines=0, head="", first="", problems=[]
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"FAIL"', '"PASS"', "line 3 does not follow"),
        ('{"type":"outcome"', "{", "line 2 cannot be read"),
        ('"verdict":"HOLD"', '"verdict":"HOLD","verdict":"HOLD"', "the key 'verdict' is repeated"),
        ('"verdict":"HOLD"', '"verdict":"HOLD","remark":1', "something in it means nothing"),
        ('"form":2', '"form":3', "it is in form 3 of ledgers, this harness reads up to 2"),
    ],
)
def test_an_edited_line_is_noticed(written: Path, old: str, new: str, said: str) -> None:
    written.write_text(written.read_text().replace(old, new, 1))
    assert said in ledger.read(written).problems[0]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_removed_line_is_noticed(written: Path, gone: int) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(line for n, line in enumerate(lines) if n != gone))
    assert ledger.read(written).problems


def test_lines_in_another_order_or_twice_are_noticed(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))
    assert ledger.read(written).problems
    ledger.append(written.parent, attempt("2"))
    assert "2 is there twice" in ledger.read(written).problems


def test_an_outcome_without_its_attempt_is_noticed(tmp_path: Path) -> None:
    ledger.append(tmp_path, outcome("1", "PASS"))
    assert ledger.read(tmp_path / ledger.FILE).problems == ["1 ended without having begun"]


def test_a_line_that_was_cut_off_spoils_no_other(written: Path) -> None:
    os.truncate(written, written.stat().st_size - 5)
    ledger.append(written.parent, attempt("3"))
    read = ledger.read(written)
    (problem,) = read.problems
    assert problem.startswith("line 4 cannot be read")
    assert [one.session for one, _ in ledger.outcomes(read.entries)] == ["1", "2", "3"]


def test_lines_of_the_form_before_are_read(tmp_path: Path) -> None:
    old = b'{"type":"attempt","session":"1","at_ms":0.0,"inputs":{},"release":"v1","gates":{},"previous":""}\n'
    (tmp_path / ledger.FILE).write_bytes(old)
    ledger.append(tmp_path, outcome("1", "PASS"))
    read = ledger.read(tmp_path / ledger.FILE)
    assert read.problems == []
    assert [entry.form for entry in read.entries] == [1, ledger.FORM]
    assert read.first == hashlib.sha256(old[:-1]).hexdigest()


def test_a_ledger_that_is_named_is_written_beside_the_machines_own(tmp_path: Path) -> None:
    named, releases = tmp_path / "shared.jsonl", tmp_path / "releases"
    ledger.append(releases, attempt("1"))
    ledger.append(releases, attempt("2"), named)
    assert [entry.session for entry in ledger.read(named).entries] == ["2"]
    assert [entry.session for entry in ledger.read(releases / ledger.FILE).entries] == ["1", "2"]


@pytest.mark.parametrize("link", [False, True])
def test_the_machines_own_ledger_may_be_the_one_that_is_named(tmp_path: Path, link: bool) -> None:
    releases, named = tmp_path / "releases", tmp_path / "releases" / ledger.FILE
    if link:
        releases.mkdir()
        named.symlink_to(tmp_path / "shared.jsonl")
        named = tmp_path / "shared.jsonl"
    ledger.append(releases, attempt("1"), named)
    assert ledger.read(releases / ledger.FILE).lines == 1


def test_what_cannot_be_a_ledger_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "gone" / "a.jsonl", "there is no directory"),
        (tmp_path, "is no regular file"),
        (tmp_path / "pipe", "is no regular file"),
    ):
        with pytest.raises(HarnessError, match=said):
            ledger.raise_unusable(path)
    with pytest.raises(HarnessError, match="no regular file"):
        ledger.append(tmp_path / "releases", attempt("1"), tmp_path / "pipe")
    with pytest.raises(HarnessError, match="no regular file"):
        ledger.read(tmp_path / "pipe")
    ledger.raise_unusable(tmp_path / "new.jsonl")


def ship(written: Path) -> None:
    (written.parent / "v1").mkdir()
    (written.parent / "v1" / ledger.FILE).write_bytes(written.read_bytes())


def test_a_ledger_goes_on_from_what_was_shipped(written: Path) -> None:
    ship(written)
    assert ledger.discontinued(written.parent) is None
    ledger.append(written.parent, attempt("3"))
    assert ledger.discontinued(written.parent) is None


@pytest.mark.parametrize("kept", [None, 0, 2])
def test_a_ledger_that_was_deleted_or_cut_is_noticed(written: Path, kept: int | None) -> None:
    ship(written)
    lines = written.read_bytes().splitlines(keepends=True)
    written.unlink()
    if kept is not None:
        written.write_bytes(b"".join(lines[:kept]))
    ledger.append(written.parent, attempt("3"))
    assert "v1" in str(ledger.discontinued(written.parent))


def past(*before: tuple[Attempt, str | None], status: str = "PASS") -> Past:
    earlier = [
        (one, outcome(one.session, ended) if ended is not None else None) for one, ended in before
    ]
    own = attempt("now")
    return ledger.past_of(own, earlier, {"a": status})


NOTHING = Past(flaky=[], unended=[])
FLAKY = Past(flaky=["a"], unended=[])


def test_fail_and_then_pass_is_flaky() -> None:
    assert past((attempt("1"), "FAIL")) == FLAKY
    assert past((attempt("1"), "FAIL"), (attempt("2"), "PASS")) == FLAKY
    assert past((attempt("1"), "FAIL"), status="FAIL") == NOTHING


def test_an_unknown_says_nothing_about_a_later_run() -> None:
    assert past((attempt("1"), "UNKNOWN")) == NOTHING
    assert past((attempt("1"), "UNKNOWN"), (attempt("2"), "UNKNOWN")) == NOTHING
    assert past((attempt("1"), "UNKNOWN"), (attempt("2"), "FAIL"), (attempt("3"), "PASS")) == FLAKY


def test_an_attempt_that_never_ended_may_have_seen_anything() -> None:
    assert past((attempt("1"), None)) == Past(flaky=[], unended=["1"])
    assert past((attempt("1"), None), (attempt("2"), "PASS")) == Past(flaky=[], unended=["1"])
    assert past((attempt("1"), None), status="UNKNOWN") == NOTHING
    assert past((attempt("1", source="another"), None)) == NOTHING
    assert past((attempt("1", gate="g0"), None)) == NOTHING


def test_a_gate_that_was_not_run_saw_nothing() -> None:
    assert (
        past((attempt("1"), "SKIP"), (attempt("2"), "MISSING"), (attempt("3"), "PASS")) == NOTHING
    )


@pytest.mark.parametrize("name", ["lock", "release"])
def test_a_comment_elsewhere_makes_no_other_attempt(name: str) -> None:
    assert past((attempt("1", **{name: "another"}), "FAIL")) == FLAKY


@pytest.mark.parametrize("name", ledger.COMPARED)
def test_another_system_is_another_attempt(name: str) -> None:
    assert past((attempt("1", **{name: "another"}), "FAIL")) == NOTHING


def test_another_gate_is_another_attempt() -> None:
    assert past((attempt("1", gate="g0"), "FAIL")) == NOTHING


def test_lines_are_what_anybody_can_check(written: Path) -> None:
    lines = written.read_bytes().splitlines()
    for before, line in itertools.pairwise(lines):
        said = msgspec.json.decode(line, type=dict[str, object])["previous"]
        assert said == hashlib.sha256(before).hexdigest()
