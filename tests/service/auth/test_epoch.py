"""The file through which processes tell each other that tokens have changed."""

from pathlib import Path

from service.auth.epoch import EpochFile


def test_an_epoch_file_of_another_size_is_made_right(tmp_path: Path) -> None:
    path = tmp_path / "epoch"
    path.write_bytes(b"1")
    epoch = EpochFile(path)
    before = epoch.count[0]
    epoch.bump()
    assert epoch.count[0] != before
    assert path.stat().st_size == 8
