"""What is finished is kept whole or not at all, and not without end."""

import os
from pathlib import Path

import pytest

from gates.prove.evaluate import Trial
from gates.prove.kept import find
from gates.run.store import Store


def trial(run_id: str = "r") -> Trial:
    return Trial(
        gate="g", kind="control", defect=None, seed=46, run_id=run_id, diff="", executed=None
    )


def keep(store: Store, key: str, run_id: str = "r", size: int = 1) -> None:
    with store.making() as place:
        (place / "g").mkdir()
        (place / "g" / "runs.jsonl").write_bytes(b"x" * size)
        store.keep(key, place, trial(run_id))


def test_what_was_kept_is_found_under_its_key_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    assert find(store, "a") is None
    keep(store, "a")
    kept = find(store, "a")
    assert kept is not None and kept.trial == trial()
    assert kept.directory == tmp_path / "proofs" / "a" / "g"
    assert find(store, "b") is None
    assert [path.name for path in (tmp_path / "proofs").iterdir()] == ["a"]


def test_what_was_interrupted_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")

    def broken_off() -> None:
        with store.making() as place:
            (place / "g").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert list((tmp_path / "proofs").iterdir()) == []


def test_a_trial_that_is_made_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    keep(store, "a", "old")
    keep(store, "a", "new")
    kept = find(store, "a")
    assert kept is not None and kept.trial.run_id == "new"


def test_a_trial_without_evidence_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    with store.making() as place:
        store.keep("a", place, trial())
    assert find(store, "a") is None


def aged(store: Store, *keys: str) -> None:
    for number, key in enumerate(keys):
        keep(store, key, size=1000)
        os.utime(store.directory / key, (number, number))


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    aged(store, "a", "b", "c")
    assert find(store, "a") is not None
    store.prune(most=2)
    assert sorted(path.name for path in store.directory.iterdir()) == ["a", "c"]


def test_what_is_kept_has_a_size(tmp_path: Path) -> None:
    store = Store(tmp_path / "proofs")
    aged(store, "a", "b", "c")
    store.prune(most_bytes=2900)
    assert sorted(path.name for path in store.directory.iterdir()) == ["b", "c"]
    Store(tmp_path / "none").prune()
