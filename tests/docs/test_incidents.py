"""The walk from a breach to a gate works as it is shown, command by command."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gates.cli import main as gates_main
from gates.incidents.questions import read_questions
from gates.incidents.tables import VIEWS
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from service.cli import main as sonia_main
from tests.builders.incidents import write_incident

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "incidents.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    ((?:python -m gates|sonia) .*)$", GUIDE, re.MULTILINE)
NOT_RUN = {
    "python -m gates run --prove --specs specs/incidents",
    "python -m gates incident summary packed/monday --engine spark",
}
"""A gate with its proof takes long, and Spark is not here; the parser of commands has tried the lines."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout as far as gates of incidents need one, and the reader's question."""
    shutil.copytree(
        ROOT / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    # The commands set it for themselves.
    mask = os.umask(0o077)
    assert sonia_main(["init", "--state", "sonia-state", "--json"]) == 0
    (tmp_path / "questions").mkdir()
    (sql,) = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "questions" / "waiting.sql").write_text(sql)
    yield tmp_path
    os.umask(mask)


def test_every_command_does_what_it_is_shown_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        len(COMMANDS) > 15
        and set(COMMANDS) > NOT_RUN
        and "sonia replay incidents/monday" in COMMANDS
    )
    for command in COMMANDS:
        words = shlex.split(command)
        if words[:3] == ["sonia", "incident", "export"]:
            # The state has seen no request: what was exported of it is replaced by an incident.
            bundle = Path(words[-1])
            assert sonia_main(words[1:]) == sonia_main(["replay", str(bundle)]) == 0
            shutil.rmtree(bundle)
            write_incident(bundle, requests=90, broken=100 if bundle.name == "sunday" else 30)
        if command in NOT_RUN or words[0] == "sonia":
            continue
        parts = "diff" in words
        assert gates_main(words[3:]) == (EXIT_FAILED if parts else EXIT_PROMOTE), command
    written = ("monday.json", "monday.html", "diff.html", "monday.sql", "answers/stages.parquet")
    assert all((project / name).stat().st_size for name in written)
    text = capsys.readouterr().out
    assert "Which operators were asked to wait?" in text
    assert "1 gate, 1 target: no problems" in text


def test_every_table_and_question_that_is_named_is_there() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", GUIDE, re.MULTILINE)
    told = {table: re.findall(r"`(\w+)`", columns) for table, columns in rows}
    assert told == {
        name: list(columns) for name, columns in VIEWS.items() if not name.startswith("base_")
    }
    named = set(re.findall(r"--only ([\w-]+)", GUIDE))
    assert named and named <= read_questions().keys()
