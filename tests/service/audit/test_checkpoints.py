"""Checkpoints are whole or not there: a line that was cut off is put aside, and takes no other with it."""

import errno
import os
import threading
from pathlib import Path

import pytest

from service.audit import checkpoints
from service.audit.chain import Head
from service.audit.checkpoints import CheckpointWriter, read_checkpoints
from service.errors import StateDamaged

KEY = b"k" * 32
WHOLE = '{"seq":1,"hmac":"aa","mac":"bb"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.checkpoints"


def write(path: Path, seq: int) -> None:
    CheckpointWriter(path, KEY, 1, 0).write(Head(seq, f"{seq:064}", 0))


def seqs(path: Path) -> list[int]:
    return [each.seq for each in read_checkpoints(path).whole]


@pytest.mark.parametrize(
    "torn", ["{", '{"seq":7', '{"seq":7,"hmac":"aa"', WHOLE[:-1], "x" * 10_000]
)
def test_a_torn_tail_is_recognised_and_put_aside(path: Path, torn: str) -> None:
    write(path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode())
    assert seqs(path) == [1]
    assert read_checkpoints(path).torn == torn.encode()
    write(path, 2)
    assert seqs(path) == [1, 2]
    assert path.read_bytes().startswith(whole)
    assert path.with_name("audit.checkpoints.torn").read_text() == torn + "\n"


def test_a_line_that_lacks_its_newline_alone_is_proof(path: Path) -> None:
    path.write_text(WHOLE)
    assert seqs(path) == [1]
    write(path, 2)
    assert seqs(path) == [1, 2]
    assert not path.with_name("audit.checkpoints.torn").exists()


@pytest.mark.parametrize("damaged", ["x\n", WHOLE + "{\n", '{"seq":1' + WHOLE + "\n", "\n"])
def test_a_line_that_is_none_is_damage(path: Path, damaged: str) -> None:
    path.write_text(damaged)
    with pytest.raises(StateDamaged, match="line 1"):
        read_checkpoints(path)


def test_a_torn_tail_tells_which_row_was_there(path: Path) -> None:
    for torn, seq in (('{"seq":120,"hm', 120), ('{"seq":12', 12), ('{"seq"', 0), ("", 0)):
        path.write_text(WHOLE + "\n" + torn)
        assert read_checkpoints(path).begun_seq == seq


@pytest.mark.parametrize("fails", ["short", "full", "sync"])
def test_what_a_full_disk_cuts_off_is_taken_back(
    path: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, 1)
    before = path.read_bytes()
    real = os.write

    def short(descriptor: int, content: bytes) -> int:
        return real(descriptor, content[:9])

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def sync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = CheckpointWriter(path, KEY, 1, 1)
    with monkeypatch.context() as patched:
        broken = {"short": ("write", short), "full": ("write", full), "sync": ("fsync", sync)}
        patched.setattr(checkpoints.os, *broken[fails])
        with pytest.raises(OSError, match=r"bytes could be written|No space|Input/output"):
            writer.write(Head(2, "ab", 0))
    assert path.read_bytes() == before
    writer.write(Head(3, "ab", 0))
    assert seqs(path) == [1, 3]


def test_many_that_write_and_mend_at_once_lose_no_line(path: Path) -> None:
    """A restart: whoever ends writes its last checkpoint while whoever begins finds a torn tail."""
    path.write_bytes(b'{"seq":1')
    begin = threading.Barrier(8)

    def append(first: int) -> None:
        begin.wait()
        for number in range(20):
            write(path, first + number)

    threads = [threading.Thread(target=append, args=(100 * each,)) for each in range(1, 9)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    expected = sorted(100 * each + number for each in range(1, 9) for number in range(20))
    assert sorted(seqs(path)) == expected
