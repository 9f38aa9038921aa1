"""aiohttp's client doing what the load client does, without recording anything.

`python -m bench.aiohttp_client URL CONNECTIONS SECONDS` prints how many answers it read.
"""

import asyncio
import sys
import time

import aiohttp
import uvloop


async def run(url: str, connections: int, for_s: float) -> int:
    """Closed loop: each of `connections` tasks sends its next request when the last was answered."""
    until_s = time.monotonic() + for_s
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def client() -> int:
            done = 0
            while time.monotonic() < until_s:
                async with session.get(url) as answer:
                    await answer.read()
                done += 1
            return done

        return sum(await asyncio.gather(*(client() for _ in range(connections))))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
