"""The command line: what it is asked, and how it answers."""

import stat
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from service.state import StateDir
from tests.service.conformance.conversation import Conversation, command
from tests.service.running import State

WORDS = (
    "", "--version", "everything", "init -h", "up -h", "run", "run everything", "token", "token issue",
    "token issue --role emperor", "token issue --ttl 5", "token rotate", "token revoke", "token list -h",
    "audit", "audit verify -h", "routes -h", "contract -h", "doctor -h",
)  # fmt: skip


def test_words(state: State, snapshot: SnapshotAssertion) -> None:
    """What it does not know it refuses with 2, saying what it knows. Quotes are the parser's, and differ by its version."""
    talk = Conversation(state, {})
    for words in WORDS:
        talk.sonia(f"sonia {words}", *words.split(), state=False)
    assert talk.said.replace("'", "") == snapshot


def test_a_state_is_made(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    root = tmp_path / "new" / "deep"
    talk = Conversation(State(StateDir(root), "", ""), {})
    talk.sonia("made", "init")
    talk.told += _listed(root)
    talk.sonia("made again", "init")
    (root / "sonia.yaml").write_text("auth: {rotation_window_s: 1}\n")
    talk.sonia("made by force", "init", "--force")
    talk.told += _listed(root)
    talk.told.append((root / "sonia.yaml").read_text().strip())
    talk.sonia("checked", "doctor")
    assert not list(root.glob("control.db-*"))
    assert talk.said == snapshot


def test_what_a_new_state_says_for_a_program(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    root = tmp_path / "told"
    talk = Conversation(State(StateDir(root), "", ""), {})
    talk.sonia("made for a program", "init", "--json")
    talk.told.append((root / "sonia.yaml").read_text().strip())
    assert talk.said == snapshot


def test_routes_and_contract(
    state: State, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Conversation(state, {})
    talk.sonia("routes", "routes")
    talk.sonia("routes for a program", "routes", "--json")
    talk.sonia("contract", "contract", "specs/contract/v4.5.0.json")
    assert talk.said == snapshot
    monkeypatch.chdir(Path(__file__).parents[3])
    assert command("contract") == (0, "v4.5.0 is kept\n", "")


def _listed(root: Path) -> list[str]:
    """Every file below `root` with its kind and mode; the old state's directory has a time in its name."""
    found = []
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name.startswith("replaced-"):
            name = "replaced-*" + name[len("replaced-") + 13 :]
        kind = "d" if path.is_dir() else "f"
        found.append(f"{name} {kind} {stat.S_IMODE(path.stat().st_mode):o}")
    return sorted(found)


def test_a_command_needs_no_terminal(state: State) -> None:
    assert command("doctor", "--state", str(state.directory.root))[0] == 0
