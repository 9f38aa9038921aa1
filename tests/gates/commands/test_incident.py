"""The command: its forms, its exit codes, and what it says of mistakes."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import duckdb
import pytest

from gates.cli import main
from gates.release.report import EXIT_BROKEN, EXIT_FAILED, EXIT_PROMOTE, EXIT_SPEC
from tests.builders.incidents import write_incident


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("incidents")
    write_incident(directory / "one")
    write_incident(directory / "<two>", broken=50)
    return directory


def incident(*arguments: object) -> int:
    return main(["incident", *map(str, arguments)])


def test_a_summary_says_what_was_asked_and_what_is_left_out(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert incident("summary", made / "one", "--rows", 2) == EXIT_PROMOTE
    text = capsys.readouterr().out
    assert "How long did each stage take, minute by minute?  (stages)" in text
    assert "and 8 more rows; --only stages --rows 0 shows all" in text
    assert "(seconds)" not in text


def test_json_has_every_row_and_parquet_the_same(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("summary", made / "one", "--only", "stages", "--only", "seconds")
    assert incident(*asked, "--format", "json") == EXIT_PROMOTE
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [one["question"] for one in answers] == ["stages", "seconds"]
    assert [len(one["rows"]) for one in answers] == [10, 60]
    assert answers[0]["rows"][0]["minute"] == "2026-11-30T00:00:00.000000Z"
    assert incident(*asked, "--format", "parquet", "-o", tmp_path / "out") == EXIT_PROMOTE
    for one in answers:
        path = tmp_path / "out" / f"{one['question']}.parquet"
        rows = duckdb.sql(f"SELECT * FROM '{path}'").fetchall()
        numbers = [[v for v in row if isinstance(v, int | str)] for row in rows]
        plain = [list(row.values())[1:] for row in one["rows"]]
        assert numbers == plain


def test_a_page_stands_alone_and_escapes_what_it_is_told(made: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code = incident("diff", made / "one", made / "<two>", "--format", "html", "-o", page)
    assert code == EXIT_FAILED
    text = page.read_text()
    assert "<two>" not in text and "&lt;two&gt;" in text
    assert (
        "default-src 'none'" in text
        and "<script" not in text
        and "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    )
    pictures = [part.partition("</svg>")[0] + "</svg>" for part in text.split('role="group"')]
    drawn = [
        ET.fromstring(one[one.index("<svg") :]) for one in pictures if 'aria-label="Requests' in one
    ]
    assert len(drawn) == 2
    for one in drawn:
        label = one.get("aria-label", "")
        assert "16 shed" in label and "degrade mode from 24 s to 48 s" in label
        assert "model breaker open from 21 s to 41.4 s" in label


def test_the_questions_can_be_run_without_us(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "all.sql"
    arguments = ("diff", made / "one", made / "<two>", "--only", "first-divergence")
    assert incident(*arguments, "--format", "sql", "-o", script) == EXIT_PROMOTE
    rows = duckdb.connect().execute(script.read_text()).fetchall()
    assert incident(*arguments) == EXIT_FAILED
    assert (
        f"{len(rows)} requests of 300 in both bundles decided otherwise" in capsys.readouterr().out
    )


def test_bundles_that_decided_alike_do_not_part(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert incident("diff", made / "one", made / "one") == EXIT_PROMOTE
    assert "0 requests of 300 in both bundles" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["summary", "nowhere"], EXIT_BROKEN, "there is no such bundle"),
        (["summary", "one", "one"], EXIT_BROKEN, "was given twice"),
        (["summary", "one", "--only", "stage"], EXIT_BROKEN, 'did you mean "stages"?'),
        (["summary", "one", "--only", "class-changes"], EXIT_BROKEN, "incident diff BASE BUNDLE"),
        (["summary", "one", "--format", "parquet"], EXIT_BROKEN, "name one with -o"),
        (["summary", "one", "--sql", "nowhere"], EXIT_BROKEN, "no directory of questions"),
        (["summary", "one", "--engine", "spark", "--format", "html"], EXIT_BROKEN, "not as html"),
        (["summary", "one", "--memory", "much"], EXIT_BROKEN, "error: "),
        (
            ["summary", "one", "--sql", "wrong"],
            EXIT_SPEC,
            "wrong.sql:2:8: there is no column colour",
        ),
    ],
)
def test_mistakes_are_told(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(made)
    (made / "wrong").mkdir(exist_ok=True)
    (made / "wrong" / "wrong.sql").write_text("-- Which?\nSELECT colour FROM requests\n")
    assert incident(*arguments) == code
    assert said in capsys.readouterr().out


def test_what_went_alike_is_listed(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert incident("similar", made / "one", "--library", made) == EXIT_PROMOTE
    text = capsys.readouterr().out
    assert "6 of 6  <two>" in text and "1 of 1 incident" in text
    assert incident("similar", made / "one", "--library", made, "--format", "json") == EXIT_PROMOTE
    (near,) = json.loads(capsys.readouterr().out)["nearest"]
    assert near["incident_id"] == "<two>"
