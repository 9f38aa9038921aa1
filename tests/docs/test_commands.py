"""Every command that a document shows is one that works."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gates.cli import main
from gates.cli import parser as gates_parser
from gates.release.report import EXIT_PROMOTE, EXIT_SPEC
from service.cli import parser as sonia_parser
from tests.builders.small_project import write_project

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "releases/README.md"]
FIRST = "pip|nox|python|sonia|curl|duckdb|cd|git|\\.|uv|source|export|pytest|ruff|mypy"
BLOCK = re.compile(rf"^    ((?:{FIRST}) .*|duckdb)$", re.MULTILINE)
FENCE = re.compile(r"^```(?:\w+)\n.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:pip|nox|python|sonia|curl) [^`\n]+)`")
SESSIONS = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
RUN_GATES = {
    "gates": "run",
    "release": "run",
    "example": "run",
    "prove": "prove",
    "mutants": "mutants",
}
"""Sessions of nox that hand on what follows `--`, and to which command."""

GATES = set(gates_parser()._subparsers._group_actions[0].choices)
SONIA = set(re.findall(r"sonia (\w+)", (ROOT / "docs/operating.md").read_text(encoding="utf-8")))
"""The second are known to exist: test_operating.py asks each for its help."""

NOT_TRIED = {
    "pip install nox": "CI begins with it; it needs a network",
    "duckdb": "its queries are run in test_evidence.py",
    "cd releases/v4.6.0": "test_evidence.py runs what follows in a release",
    "python scripts/docs/scenarios.py": "test_scenarios.py looks at the gates that it makes, and at what it drew",
    ". .nox/example/bin/activate": "see test_the_environment_of_the_tutorial_is_one_that_nox_makes",
}


def commands() -> Iterator[tuple[str, str]]:
    """(document, simple command) of all blocks, and of the prose."""
    for document in DOCUMENTS:
        text = FENCE.sub("", document.read_text(encoding="utf-8")).replace("\\\n", "")
        for line in [*BLOCK.findall(text), *INLINE.findall(text)]:
            plain = re.sub(r"\s{2,}#.*$", "", line)
            for command in plain.split(" && "):
                yield document.name, command.strip()


def parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    try:
        parser.parse_args(arguments)
    except SystemExit:
        return False
    return True


def words(command: str) -> list[str]:
    """A command with what is optional in it given, and one of each choice."""
    text = re.sub(r"\[(-[^\]]+)\]", r"\1", command)
    return [word.partition("|")[0] for word in shlex.split(text)]


def named_only(arguments: list[str]) -> bool:
    """Whether a command is spoken of, and has no arguments to be parsed; an option at the end may lack its value."""
    return len(arguments) < 2 and not {*arguments} - {*GATES, *SONIA}


def understood(command: str) -> bool:
    match words(command):
        case ["python", "-m", "gates", *arguments]:
            return named_only(arguments) or any(
                parsed(gates_parser(), [*arguments, *value]) for value in ([], ["text"])
            )
        case ["nox", "-l"] | ["sonia", "--version"]:
            return True
        case ["nox", "-s", session, "--", *arguments]:
            handed = [RUN_GATES[session], *arguments]
            return session in SESSIONS and parsed(gates_parser(), handed)
        case ["nox", "-s", session]:
            return session in SESSIONS
        case ["sonia", *arguments]:
            return named_only(arguments) or parsed(sonia_parser(), arguments)
        case ["curl", *_]:
            # The routes are those of the contract, and SONIA's own tests ask for them.
            return True
        case _:
            return command in NOT_TRIED


@pytest.mark.parametrize(("document", "command"), sorted(set(commands())))
def test_every_command_is_one_that_works(document: str, command: str) -> None:
    assert understood(command), f"{document} tells to type what does not work, or what is not tried"


def test_there_are_commands_and_none_is_excused_that_is_not_there() -> None:
    shown = {command for _, command in commands()}
    assert len(shown) > 40
    assert set(NOT_TRIED) <= shown


@pytest.mark.parametrize(
    "command",
    [
        "pip install -c constraints.txt -e .",
        "python -m gates run --no-such-option",
        "python -m gates brew tea",
        "nox -s teapot",
        "sonia token isue --role operator",
        "nox -s gates -- --no-such-option",
    ],
)
def test_what_does_not_work_would_be_found(command: str) -> None:
    assert not understood(command)


def test_the_environment_of_the_tutorial_is_one_that_nox_makes() -> None:
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    made = re.findall(r"nox -s (\w+)", text)
    assert re.findall(r"\. \.nox/(\w+)/bin/activate", text) == made[:1] == ["example"]
    # The same environment that has the command: every session but `lock` installs the project itself.
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert re.search(r"@_session\([^)]*\)\ndef example\(", source)


def test_the_guide_for_authors_begins_with_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path, {"specs/release.yaml": None, "pyproject.toml": ""})
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs/authoring-gates.md").read_text(encoding="utf-8")
    shown = re.findall(r"^    python -m gates (.*?)(?:  +#.*)?$", guide, re.MULTILINE)
    assert [line.split()[0] for line in shown] == ["new", "lint", "explain"]
    codes = [main(shlex.split(line)) for line in shown]
    # A skeleton says what is to be filled in.
    assert codes[0] == EXIT_PROMOTE and set(codes) <= {EXIT_PROMOTE, EXIT_SPEC}
    assert "my-gate" in capsys.readouterr().out
