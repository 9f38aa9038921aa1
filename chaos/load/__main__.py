"""Entry of the load process: a plan on standard input, `Began` and `Summary` on standard output.

Standard input stays open while the load runs: when it ends, whoever asked for the load has gone, and the
load ends too. SIGTERM and SIGINT end it as well; what was recorded is complete in every case.
"""

import asyncio
import gc
import os
import signal
import sys

import msgspec
import uvloop

from chaos.load.evidence import Evidence
from chaos.load.plan import Began, Plan, Summary
from chaos.load.run import LoadRun

STDIN = 0


def main() -> int:
    """Run the plan. 0 when its summary was written, whatever it says; 2 when the plan cannot be read."""
    try:
        plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    except msgspec.DecodeError as error:
        print(f"chaos.load: the plan cannot be read: {error}", file=sys.stderr)
        return 2
    # What lives now lives until the end, and what comes is freed by counting references.
    gc.freeze()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _say(runner.run(_run(plan)))
    return 0


async def _run(plan: Plan) -> Summary:
    evidence = Evidence(plan)
    run = LoadRun(plan, evidence)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, run.stop, f"ended by {number.name}")
    watched = _watch_parent(loop, run)
    try:
        return await run.execute(lambda began_ms: _say(Began(began_ms)))
    finally:
        if watched:
            loop.remove_reader(STDIN)
        evidence.close()


def _watch_parent(loop: asyncio.AbstractEventLoop, run: LoadRun) -> bool:
    def read() -> None:
        if not os.read(STDIN, 4096):
            loop.remove_reader(STDIN)
            run.stop("its parent has gone")

    try:
        loop.add_reader(STDIN, read)
    except OSError:
        # A file cannot be waited for, and does not go away either.
        return False
    return True


def _say(message: Began | Summary) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
