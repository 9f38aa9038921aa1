"""A release is verified from its files alone, and whatever was changed in it is named."""

import contextlib
import os
import re
import socket
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.errors import HarnessError
from gates.cli import main
from gates.commands.verify import policy_digest
from gates.judge.connection import Evidence
from gates.release.closing import sign_release
from gates.release.manifest import OUTSIDE, read_manifest
from gates.release.signing import make_keys, read_public
from gates.release.specs import RELEASE
from gates.verify.verify import Expected, verify
from tests.builders.opened_once import opened_once
from tests.gates.conftest import Made
from tests.gates.tampering import close_again, edit, edit_json, edit_table, problems

SORTS = [
    "attempts.jsonl",
    "build.json",
    "conclusion.json",
    "evidence/digests.parquet",
    "evidence/requests.parquet",
    "evidence/runs.parquet",
    "gate-report.html",
    "gate-report.json",
    "junit.xml",
    "output/0/first/000.web.log",
    "proofs/evidence/requests.parquet",
    "proofs/proofs.json",
    "session.json",
    "specs/gates/a/first.yaml",
    "specs/release.yaml",
    "specs/targets/shop.yaml",
    "wheel/shop-1.0-py2.py3-none-any.whl",
]


def test_a_release_as_it_was_made(made: Made) -> None:
    found = verify(made.directory, Expected())
    assert found.flaws == []
    assert found.verdict == "PROMOTE"
    assert found.summary == "consistent, not authenticated"


def test_a_release_against_what_is_known_of_it(made: Made) -> None:
    policy = policy_digest(str(made.project.specs / "release.yaml"))
    assert (
        policy == policy_digest(str(made.directory / "specs/release.yaml")) == policy_digest(policy)
    )
    expected = Expected(commit=made.commit, policy=policy, key=read_public(made.public))
    found = verify(made.directory, expected)
    assert found.flaws == []
    assert found.summary == "consistent, and authenticated by commit, policy, key; not by ledger"
    part = verify(made.directory, Expected(commit=made.commit))
    assert part.summary == "consistent, and authenticated by commit; not by policy, key, ledger"


def test_every_sort_of_file_is_tried(made: Made) -> None:
    def sort(path: str) -> tuple[str, str]:
        first, _, rest = path.partition("/")
        return (first, Path(rest).suffix) if rest else (path, "")

    listed = {entry.path for entry in read_manifest(made.directory).files}
    assert set(SORTS) <= listed
    assert {sort(path) for path in SORTS} == {sort(path) for path in listed}


@pytest.mark.parametrize("path", [*SORTS, *sorted(OUTSIDE)])
def test_a_changed_byte_anywhere_is_named(made: Made, drawn: Path, path: str) -> None:
    content = bytearray((drawn / path).read_bytes())
    content[len(content) // 2] ^= 1
    (drawn / path).write_bytes(content)
    expected = Expected(key=read_public(made.public))
    if path == "manifest.json":
        # Whether it can still be read is chance.
        with contextlib.suppress(HarnessError):
            assert problems(drawn, expected)
    else:
        assert path in problems(drawn, expected)


def test_a_release_in_an_older_form_is_refused_with_a_sentence(copy: Path) -> None:
    edit(copy / "manifest.json", '"schema_version": "4.0"', '"schema_version": "2.0"')
    with pytest.raises(HarnessError, match=r"is in form 2\.0 of releases, this harness reads 4\.0"):
        verify(copy, Expected())


@pytest.mark.parametrize("path", [*SORTS, *sorted(OUTSIDE)])
def test_a_missing_file_is_named(made: Made, drawn: Path, path: str) -> None:
    (drawn / path).unlink()
    if path == "manifest.json":
        with pytest.raises(HarnessError, match="manifest"):
            verify(drawn, Expected())
    else:
        found = problems(drawn, Expected(key=read_public(made.public)))
        assert any("missing" in text or "not signed" in text for text in found[path])


@pytest.mark.parametrize("path", ["more.txt", "evidence/more.parquet", "proofs/.hidden"])
def test_an_additional_file_is_named(copy: Path, path: str) -> None:
    (copy / path).write_text("x")
    assert problems(copy)[path] == ["not in the manifest: it was added"]


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("junit.xml"))


def a_link_to_a_directory(path: Path) -> None:
    path.symlink_to(path.parent / "evidence", target_is_directory=True)


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)


def a_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("name", ["gate-report.html", "evidence/requests.parquet", "more"])
@pytest.mark.parametrize(
    ("sort", "said"),
    [
        (a_link, "a symbolic link"),
        (a_link_to_a_directory, "a symbolic link"),
        (a_dangling_link, "a symbolic link"),
        (os.mkfifo, "a pipe"),
        (a_socket, "a socket"),
        (a_device, "a device"),
    ],
)
def test_a_release_holds_regular_files_only(
    copy: Path, name: str, sort: Callable[[Path], None], said: str
) -> None:
    (copy / name).unlink(missing_ok=True)
    sort(copy / name)
    assert problems(copy) == {name: [f"it is {said}: a release holds regular files only"]}
    assert verify(copy, Expected()).verdict == "HOLD"
    for command in ("judge", "report"):
        options = ["--format", "html"] if command == "report" else []
        assert main([command, str(copy), *options]) == 4


def test_what_a_link_leads_to_is_not_listed_in_its_place(copy: Path) -> None:
    (copy / "junit.xml").rename(copy.parent / "elsewhere")
    (copy / "junit.xml").symlink_to(copy.parent / "elsewhere")
    with pytest.raises(HarnessError, match="regular files only"):
        close_again(copy)
    assert "junit.xml" in problems(copy)


@pytest.mark.parametrize("name", ["manifest.json", "gate-report.json"])
def test_a_pipe_in_place_of_what_is_read_first_keeps_nobody_waiting(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    assert main(["verify", str(copy)]) == (4 if name == "manifest.json" else 1)
    assert main(["report", str(copy)]) == (0 if name == "manifest.json" else 4)
    assert main(["diff", str(copy), str(copy)]) == (0 if name == "manifest.json" else 4)


def test_of_a_table_the_gate_and_its_rows_are_named(copy: Path) -> None:
    edit_table(
        copy / "evidence/requests.parquet",
        "SELECT * REPLACE (CASE WHEN gate = 'first' AND seq = 3 THEN 404 ELSE status END AS status)"
        " FROM old",
    )
    (text,) = problems(copy)["evidence/requests.parquet"]
    assert text.startswith("changed: ")
    assert "first (run 0-first-" in text
    assert "second" not in text


def test_evidence_is_looked_into_once_however_much_of_it_changed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def counted(directory: Path, collected: dict[str, dict[str, str]]) -> Evidence:
        opened.append(directory)
        return opened_once(directory, collected)

    monkeypatch.setattr("gates.verify.evidence.open_release", counted)
    for table in ("requests", "steps"):
        edit_table(copy / f"evidence/{table}.parquet", "FROM old WHERE gate = 'second'")
    found = problems(copy)
    assert opened == [copy / "evidence"]
    assert all(
        "first (run " in found[f"evidence/{table}.parquet"][0] for table in ("requests", "steps")
    )


def test_a_table_whose_rows_are_the_same_in_another_order(copy: Path) -> None:
    edit_table(copy / "evidence/requests.parquet", "SELECT * FROM old ORDER BY gate, seq DESC")
    (text,) = problems(copy)["evidence/requests.parquet"]
    assert "first (run " in text and "is not what was sealed" in text


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * EXCLUDE (mode) FROM old", "mode is missing, declared VARCHAR"),
        ("SELECT *, 1 AS more FROM old", "more is INTEGER, declared nowhere"),
        ("SELECT mode, * EXCLUDE (mode) FROM old", "not as declared: they are in another order"),
        ("SELECT * REPLACE (seed::VARCHAR AS seed) FROM old", "seed is VARCHAR, declared BIGINT"),
        ("SELECT * REPLACE ('well' AS mode) FROM old", "2 rows have a mode that there is not"),
        ("SELECT * REPLACE (NULL::VARCHAR AS worker) FROM old", "2 rows have no worker"),
    ],
    ids=[
        "a column less",
        "a column more",
        "another order",
        "another type",
        "another value",
        "nothing",
    ],
)
def test_evidence_must_be_what_is_declared(copy: Path, sql: str, said: str) -> None:
    edit_table(copy / "evidence/runs.parquet", sql)
    assert any(said in text for text in problems(copy)["evidence/runs.parquet"])


def pass_it(copy: Path) -> None:
    edit(copy / "gate-report.json", '"at_least": 10', '"at_least": 9')


def remove_gate(copy: Path) -> None:
    def without(report: dict[str, object]) -> None:
        report["gates"] = [g for g in report["gates"] if g["name"] != "second"]  # type: ignore[attr-defined]

    edit_json(copy / "gate-report.json", without)


@pytest.mark.parametrize("change", [pass_it, remove_gate], ids=["an edit", "a gate less"])
def test_a_report_that_does_not_follow_from_the_evidence(
    copy: Path, change: Callable[[Path], None]
) -> None:
    change(copy)
    close_again(copy, judge=False)
    assert "gate-report.json" in problems(copy)


def test_only_what_differs_in_a_report_is_told(copy: Path) -> None:
    def flattered(report: dict[str, object]) -> None:
        report["summary"]["pass"] = 66  # type: ignore[index]
        report["invariants"][0]["holds"] = None  # type: ignore[index]

    edit_json(copy / "gate-report.json", flattered)
    close_again(copy, judge=False)
    first, second = problems(copy)["gate-report.json"]
    assert first == "summary.pass is 2, the report says 66"
    assert re.fullmatch(r"invariants\.[a-z-]+\.holds is True, the report says None", second)


def test_evidence_that_was_changed_with_everything_that_says_so(copy: Path) -> None:
    edit_table(
        copy / "evidence/requests.parquet",
        "SELECT * FROM old WHERE NOT (gate = 'first' AND seq = 3)",
    )
    close_again(copy)
    found = verify(copy, Expected())
    assert found.verdict == "HOLD"
    assert "unknown" in found.reason


def drop_from_release(copy: Path) -> None:
    edit(copy / RELEASE, "  - {id: F1, gate: second, class: floor, since: v0}\n", "")
    edit(copy / RELEASE, "floor: 1", "floor: 0")


def lower_bound(copy: Path) -> None:
    edit(copy / "specs/gates/a/first.yaml", "at_least: 10", "at_least: 1")


def another_target(copy: Path) -> None:
    edit(copy / "specs/targets/shop.yaml", "8000", "8001")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (drop_from_release, RELEASE),
        (lower_bound, "specs/gates/a/first.yaml"),
        (another_target, "specs/targets/shop.yaml"),
    ],
)
def test_a_spec_that_was_edited_after_the_run_with_everything_that_says_so(
    copy: Path, change: Callable[[Path], None], path: str
) -> None:
    change(copy)
    close_again(copy)
    assert path in problems(copy)


def test_another_wheel(copy: Path) -> None:
    (wheel,) = (copy / "wheel").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content.replace(b"True", b"bool(1)"))
    close_again(copy)
    text = (copy / "attestation.json").read_text()
    assert '"is_running_code": false' in text
    assert wheel.name not in text.partition('"predicate"')[0]
    # Its defects are no longer those of the copies that were run, either.
    assert verify(copy, Expected()).verdict == "HOLD"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"executed": true', '"executed": false', "no edited line was executed"),
        ('"kind": "control"', '"kind": "sham"', "1 of its trials are missing"),
        ("return False", "return Falsch", "the diff is not that of its defect"),
        (
            '"first": {}',
            '"first": {\n      "all is refused": "stale: gone"\n    }',
            "stale: gone",
        ),
        ('"seed": 46', '"seed": 47', "with seed 46"),
        ('"defect": "all is refused"', '"defect": "all is lost"', "1 of its trials are missing"),
    ],
)
def test_proofs_that_do_not_follow_from_their_evidence(
    copy: Path, old: str, new: str, said: str
) -> None:
    edit(copy / "proofs/proofs.json", old, new)
    assert any(said in text for text in problems(copy)["gate-report.json"])
    close_again(copy)
    found = verify(copy, Expected())
    assert found.verdict == "HOLD"
    assert "not proven" in found.reason or "proofs are missing" in found.reason


def test_a_run_is_no_trial_twice(copy: Path) -> None:
    def twice(value: dict[str, object]) -> None:
        trials = value["trials"]
        defect = next(t for t in trials if t["defect"] == "all is refused")  # type: ignore[attr-defined]
        trials.append(defect)  # type: ignore[attr-defined]

    edit_json(copy / "proofs/proofs.json", twice)
    assert any("used twice" in text for text in problems(copy)["gate-report.json"])


def test_what_comes_from_outside_and_is_otherwise(made: Made, copy: Path, tmp_path: Path) -> None:
    other, _ = make_keys(tmp_path / "other")
    assert "session.json" in problems(copy, Expected(commit="0" * 40))
    assert RELEASE in problems(copy, Expected(policy="0" * 64))
    wrong = problems(copy, Expected(key=read_public(other)))
    assert wrong == {"attestation.intoto.jsonl": ["it is not signed by this key"]}
    key = Expected(key=read_public(made.public))
    sign_release(copy, tmp_path / "other")
    assert problems(copy, key) == wrong
    (copy / "attestation.intoto.jsonl").unlink()
    assert problems(copy, key) == {"attestation.intoto.jsonl": ["the release is not signed"]}


def test_everything_rewritten_is_still_not_signed(made: Made, copy: Path) -> None:
    edit(copy / "session.json", '"dirty": false', '"dirty": true')
    close_again(copy)
    assert verify(copy, Expected()).summary == "consistent, not authenticated"
    assert problems(copy, Expected(key=read_public(made.public)))
    assert problems(copy, Expected(commit=made.commit))


def a_page_that_promotes(copy: Path) -> None:
    edit(copy / "gate-report.html", "PROMOTE", "PROMOTE!")


def a_page_of_its_own(copy: Path) -> None:
    (copy / "gate-report.html").write_text("<h1>v1: PROMOTE</h1>")


def green_cases(copy: Path) -> None:
    (copy / "junit.xml").write_bytes(b"<testsuite/>")


def a_remark(copy: Path) -> None:
    edit_json(copy / "gate-report.json", lambda report: report.update(remark="PROMOTE"))


def a_repeated_key(copy: Path) -> None:
    edit(
        copy / "gate-report.json",
        '  "verdict": "PROMOTE"',
        '  "verdict": "HOLD",\n  "verdict": "PROMOTE"',
    )


def a_repeated_key_inside(copy: Path) -> None:
    edit(copy / "gate-report.json", '"id": "F1"', '"id": "F9", "id": "F1"')


def another_spelling(copy: Path) -> None:
    edit(copy / "gate-report.json", '  "verdict"', '   "verdict"')


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (a_page_that_promotes, "gate-report.html"),
        (a_page_of_its_own, "gate-report.html"),
        (green_cases, "junit.xml"),
        (a_remark, "gate-report.json"),
        (a_repeated_key, "gate-report.json"),
        (a_repeated_key_inside, "gate-report.json"),
        (another_spelling, "gate-report.json"),
    ],
)
def test_what_is_rendered_is_rendered_again_and_compared(
    drawn: Path, change: Callable[[Path], None], path: str
) -> None:
    change(drawn)
    close_again(drawn, judge=False)
    assert set(problems(drawn)) == {path}


def test_of_a_repeated_key_no_program_makes_a_choice(copy: Path) -> None:
    a_repeated_key(copy)
    for command in (["report", str(copy)], ["judge", str(copy)], ["diff", str(copy), str(copy)]):
        assert main(command) == 4


@pytest.mark.parametrize(
    "name", ["session.json", "conclusion.json", "build.json", "proofs/proofs.json"]
)
@pytest.mark.parametrize("extra", ['{"remark": 1, ', "{ "])
def test_what_nothing_reads_is_in_no_file(copy: Path, name: str, extra: str) -> None:
    (copy / name).write_text((copy / name).read_text().replace("{", extra, 1))
    assert "not as it was written" in problems(copy)["gate-report.json"][0]
    with pytest.raises(HarnessError, match="not as it was written"):
        close_again(copy, judge=False)


def test_what_nothing_reads_is_not_in_the_manifest(copy: Path) -> None:
    edit(copy / "manifest.json", '  "release"', '  "remark": 1,\n  "release"')
    with pytest.raises(HarnessError, match="not as it was written"):
        verify(copy, Expected())


def double(content: bytes) -> bytes:
    return content + content


def unsigned(content: bytes) -> bytes:
    return re.sub(rb'"signatures":\[.*\]', b'"signatures":[]', content)


def no_signature(content: bytes) -> bytes:
    return re.sub(rb'"sig":"[^"]*"', b'"sig":"AAAA"', content)


def a_remark_beside(content: bytes) -> bytes:
    return content.replace(b"{", b'{"verdict":"PROMOTE",', 1)


def another_payload(content: bytes) -> bytes:
    return re.sub(rb'"payload":"[^"]*"', b'"payload":"e30="', content)


def another_type(content: bytes) -> bytes:
    return content.replace(b"vnd.in-toto", b"vnd.other")


@pytest.mark.parametrize(
    "change",
    [double, unsigned, no_signature, a_remark_beside, another_payload, another_type, lambda _: b""],
)
def test_without_a_key_too_an_envelope_holds_what_is_attested_and_no_more(
    copy: Path, change: Callable[[bytes], bytes]
) -> None:
    path = copy / "attestation.intoto.jsonl"
    path.write_bytes(change(path.read_bytes()))
    assert list(problems(copy)) == [path.name]


def test_a_release_without_a_page_is_one(drawn: Path) -> None:
    (drawn / "gate-report.html").unlink()
    close_again(drawn, judge=False)
    assert problems(drawn) == {}


def test_what_there_is_not_is_said(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy / "nowhere")]) == 4
    assert capfd.readouterr().out == f"error: there is no directory {copy / 'nowhere'}\n"


def test_exit_codes(
    made: Made, drawn: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    public = str(made.public)
    assert main(["verify", str(drawn), "--commit", made.commit, "--key", public]) == 0
    assert "authenticated by commit, key; not by policy" in capfd.readouterr().out
    (drawn / "junit.xml").write_text("<testsuite/>")
    assert main(["verify", str(drawn), "--json"]) == 1
    assert '"path": "junit.xml"' in capfd.readouterr().out
    assert main(["sign", str(drawn), "--key", str(made.private)]) == 1
    assert main(["verify", str(tmp_path)]) == 4
    assert main(["verify", str(drawn), "--commit", "main"]) == 4
    assert main(["verify", str(drawn), "--key", str(tmp_path / "none")]) == 4


def test_a_release_is_signed_afterwards(made: Made, copy: Path) -> None:
    (copy / "attestation.intoto.jsonl").unlink()
    assert main(["sign", str(copy), "--key", str(made.private)]) == 0
    assert problems(copy, Expected(key=read_public(made.public))) == {}
