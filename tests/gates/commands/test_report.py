"""`python -m gates report`."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gates.cli import main
from gates.commands.report import FORMATS
from tests.gates.html.releases import release


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("release"))[0]


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_written_and_exits_as_its_run_did(
    directory: Path, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "out"
    assert main(["report", str(directory), "--format", form, "-o", str(target)]) == 1
    assert b"demo" in target.read_bytes()


def test_what_is_printed_is_what_is_written(
    directory: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["report", str(directory), "--format", "json"]) == 1
    assert capfdbinary.readouterr().out == (directory / "gate-report.json").read_bytes()


def test_text_is_the_default(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(directory)])
    assert "v9.9.0: HOLD (failed: C4 demo)" in capsys.readouterr().out


def test_forms_can_be_read_as_what_they_are(directory: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    main(["report", str(directory), "--format", "sarif", "-o", str(target)])
    assert json.loads(target.read_bytes())["version"] == "2.1.0"
    main(["report", str(directory), "--format", "junit", "-o", str(target)])
    assert ET.parse(target).getroot().tag == "testsuite"


def test_a_directory_without_a_report_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path), "--format", "html"]) == 4
    assert "cannot read" in capsys.readouterr().out


def test_the_page_compares_with_a_given_base(directory: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    arguments = ["report", str(directory), "--format", "html", "-o", str(target)]
    main([*arguments, "--base", str(directory)])
    assert "Since v9.9.0 (HOLD, 2026-01-02 03:04 UTC): nothing" in target.read_text("utf-8")
