"""The guide to running SONIA names what there is."""

import configparser
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import EXIT_REFUSED

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "service").rglob("*.py"))


def reasons() -> list[str]:
    """The texts of the table of refused starts, without the places that vary."""
    _, _, table = GUIDE.partition("### Exit 78")
    rows = re.findall(r"^\| (.+?) \| .+ \|$", table.partition("\n## ")[0], re.MULTILINE)
    texts = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    return [part.strip() for text in texts for part in text.split("…") if part.strip()]


@pytest.mark.parametrize("reason", reasons())
def test_every_reason_is_one_that_the_service_gives(reason: str) -> None:
    # Names of files come from variables; what stands after them is the message.
    wording = re.sub(r"^(keys\.json|sonia\.yaml:?|control\.db) ?", "", reason)
    # Some are the system's own words for what it would not do.
    assert wording in SOURCES or wording == os.strerror(errno.EACCES)


def test_there_are_reasons() -> None:
    assert len(reasons()) > 15


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"sonia ((?:token |audit |keys )?\w+)", GUIDE)))
)
def test_every_command_exists(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "service", *command.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize(
    "name", re.findall(r"^\| `([\w.]+)`", GUIDE.partition("## What is where")[2], re.MULTILINE)
)
def test_every_file_of_the_state_is_one_that_the_service_makes(name: str) -> None:
    assert f'"{name}"' in SOURCES


def test_the_unit_starts_what_the_guide_says_and_leaves_a_refused_start_alone() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "docs" / "sonia.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/sonia up")
    assert service["RestartPreventExitStatus"] == str(EXIT_REFUSED)
    assert f"SONIA_STATE=/var/lib/{service['StateDirectory']}" == service["Environment"]
