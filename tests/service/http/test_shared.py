"""One answer for all who ask while it is being found."""

import asyncio

import pytest

from service.http.shared import Shared


class Work:
    """Something that is found once it is released."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0
        self.release = asyncio.Event()

    async def find(self) -> int:
        self.begun += 1
        number = self.begun
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.release.wait()
        self.at_once -= 1
        return number


def test_who_asks_meanwhile_shares_the_answer_and_who_asks_later_gets_another() -> None:
    async def run() -> None:
        work, shared = Work(), Shared[int]()
        asking = [asyncio.create_task(shared.ask(work.find)) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
        asyncio.get_running_loop().call_soon(work.release.set)
        assert await asyncio.gather(*asking[1:]) == [1] * 49
        assert asking[0].cancelled()
        assert await shared.ask(work.find) == 2
        assert (work.begun, work.most_at_once) == (2, 1)

    asyncio.run(run())


def test_an_error_is_everybodys_and_ends_with_it() -> None:
    async def fails() -> int:
        raise ValueError("no")

    async def run() -> None:
        work, shared = Work(), Shared[int]()
        asked = [shared.ask(fails) for _ in range(3)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in found] == [ValueError] * 3
        work.release.set()
        assert await shared.ask(work.find) == 1

    asyncio.run(run())


def test_it_rests_as_long_as_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        loop, slept = asyncio.get_running_loop(), []
        now_s = [100.0]
        real_sleep = asyncio.sleep

        async def sleep(for_s: float) -> None:
            slept.append(for_s)
            await real_sleep(0)

        async def find() -> int:
            now_s[0] += 3
            return 1

        shared = Shared[int]()
        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(loop, "time", lambda: now_s[0])
        for _ in range(2):
            await shared.ask(find)
            await real_sleep(0)
        assert slept == [0.0, 3.0]

    asyncio.run(run())
