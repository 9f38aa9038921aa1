"""The crash laboratory in its short form; `nox -s crash` runs the full one."""

from pathlib import Path

import apsw
import pytest

from service.storage import database
from tests.crash.archiving import kill_everywhere
from tests.crash.kills import Asked, Client, kill_again_and_again, problems
from tests.crash.migrations import cut_short_everywhere
from tests.crash.power import FAILURES, fail_once, lose_everywhere
from tests.crash.replacing import cut_backups_short, cut_restores_short

SEED = 1


def test_what_was_acknowledged_is_there_wherever_power_is_lost(tmp_path: Path) -> None:
    states, wrong = lose_everywhere(tmp_path, SEED, rounds=12, torn=1, most_points=24)
    assert states == 48
    assert not wrong


def test_a_sync_that_is_left_out_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database.PRAGMAS, "synchronous", 1)
    _, wrong = lose_everywhere(tmp_path, SEED, rounds=6, torn=0)
    assert wrong


@pytest.mark.parametrize(("did", "error"), FAILURES)
def test_a_disk_that_fails_loses_nothing_and_invents_nothing(
    tmp_path: Path, did: str, error: type[apsw.Error]
) -> None:
    assert not fail_once(tmp_path, SEED, did, error)


def test_kills_under_load_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    assert not kill_again_and_again(tmp_path, SEED, cycles=3)


def test_a_schema_that_is_moved_is_kept_wherever_that_is_cut_short(tmp_path: Path) -> None:
    cuts, wrong = cut_short_everywhere(tmp_path, first=70, every=80)
    assert cuts >= 4
    assert not wrong


def test_the_audit_log_is_whole_wherever_its_archiving_is_cut_short(tmp_path: Path) -> None:
    cuts, wrong = kill_everywhere(tmp_path, first=15, every=25)
    assert cuts >= 2
    assert not wrong


def test_a_backup_is_whole_or_not_there_wherever_it_is_cut_short(tmp_path: Path) -> None:
    cuts, wrong = cut_backups_short(tmp_path, first=4, every=30)
    assert cuts >= 2
    assert not wrong


def test_a_restore_leaves_the_old_or_the_new_and_can_be_done_again(tmp_path: Path) -> None:
    # Where the copy is changed; where the database is put aside; where its checkpoints are.
    cuts, wrong = cut_restores_short(tmp_path, first=88, every=9)
    assert cuts >= 2
    assert not wrong


def test_what_is_lost_doubled_or_invented_is_told() -> None:
    client = Client(0, SEED)
    client.asked = [
        Asked("lost", None, {"1"}),
        Asked("twice", "k"),
        Asked("ended", None, {"4"}, cancelled=True, cancel_asked=True),
        Asked("unknown", None),
    ]
    found = [("twice", "2", "queued"), ("twice", "3", "queued"), ("ended", "4", "queued")]
    told = problems([client], [*found, ("invented", "5", "queued")])
    assert [one.partition(" is ")[0] for one in told] == [
        "invented: invented",
        "lost: lost was answered as {'1'}",
        "doubled: twice",
        "ended",
    ]
