"""Who runs beside whom in a session."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from gates.run.locks import Turn, turn

OTHER_WORKER = """
import sys
from pathlib import Path
from typing import Self
from gates.run.locks import turn

with turn(Path(sys.argv[1]), exclusive=sys.argv[2] == "alone"):
    print("in", flush=True)
    sys.stdin.read()
"""


class OtherWorker:
    """A worker of the same session that keeps its turn until it is told to leave."""

    def __init__(self, directory: Path, how: str) -> None:
        command = [sys.executable, "-c", OTHER_WORKER, str(directory), how]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "in\n"
        return self

    def leave(self) -> None:
        self.process.communicate()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def waits_for(other: OtherWorker, take: Callable[[], object]) -> bool:
    """Whether `take` returns only after the other worker has left."""
    returned = threading.Event()
    thread = threading.Thread(target=lambda: (take(), returned.set()))
    thread.start()
    waited = not returned.wait(0.2)
    other.leave()
    thread.join(30)
    assert returned.is_set()
    return waited


def test_shared_turns_overlap(tmp_path: Path) -> None:
    with OtherWorker(tmp_path, "shared"), turn(tmp_path, exclusive=False):
        pass


def test_whoever_is_alone_waits_for_all_and_all_wait_for_it(tmp_path: Path) -> None:
    for others, own in (("shared", True), ("alone", False), ("alone", True)):
        mine = Turn(tmp_path)
        with OtherWorker(tmp_path, others) as other:
            assert waits_for(other, lambda mine=mine, own=own: mine.take(exclusive=own))
        mine.leave()


def test_whoever_will_be_alone_later_lets_nobody_begin_before(tmp_path: Path) -> None:
    mine, others = Turn(tmp_path), Turn(tmp_path)
    with OtherWorker(tmp_path, "shared") as begun_before:
        mine.take(exclusive=False, later=True)
        begun_before.leave()
    entered = threading.Event()
    begins = threading.Thread(target=lambda: (others.take(exclusive=False), entered.set()))
    begins.start()

    async def alone() -> None:
        async with asyncio.timeout(30), mine.alone():
            await asyncio.sleep(0.05)
            assert not entered.is_set()

    asyncio.run(alone())
    begins.join(30)
    assert entered.is_set()
    mine.leave()
    others.leave()


def test_in_the_middle_of_a_shared_turn_one_can_be_alone_for_a_while(tmp_path: Path) -> None:
    events: list[str] = []

    async def one(name: str, held: Turn) -> None:
        async with asyncio.timeout(30), held.alone():
            events.append(name)
            await asyncio.sleep(0.02)
            events.append(name)

    async def both(first: Turn, second: Turn) -> None:
        await asyncio.gather(one("a", first), one("b", second))

    with turn(tmp_path, exclusive=False) as first, turn(tmp_path, exclusive=False) as second:
        asyncio.run(both(first, second))
        # Both have a shared turn again, and nobody is alone.
        with turn(tmp_path, exclusive=False):
            pass
    assert events in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


def test_who_wants_to_be_alone_for_a_while_waits_for_other_workers(tmp_path: Path) -> None:
    with turn(tmp_path, exclusive=False) as held, OtherWorker(tmp_path, "shared") as other:

        async def be_alone() -> None:
            async with held.alone():
                pass

        assert waits_for(other, lambda: asyncio.run(be_alone()))


def test_who_is_alone_all_the_time_waits_for_nobody(tmp_path: Path) -> None:
    with turn(tmp_path, exclusive=True) as held:

        async def be_alone() -> bool:
            async with asyncio.timeout(30), held.alone():
                return True

        assert asyncio.run(be_alone())
