"""Runs the load process against a scripted server and reads what it recorded."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from chaos.evidence import schema
from chaos.load.plan import Began, Bursts, Clients, Message, Plan, Rates, Summary
from tests.builders.http_servers import Script, Scripted, scripted

R = TypeVar("R", bound=schema.Row)
ROOT = Path(__file__).parents[2]
GET = Message(method="GET", path="/x", route="/x", actor="operator", role="operator")


class Result(msgspec.Struct):
    """What one load left behind. `exit` is its exit code, `errors` what it printed on standard error."""

    summary: Summary | None
    requests: list[schema.Request]
    responses: dict[int, schema.Response]
    server: Scripted
    exit: int
    errors: str

    def outcomes(self) -> list[str]:
        """Of all requests in order of `seq`; `none` where there is no completion."""
        return [
            self.responses[row.seq].outcome if row.seq in self.responses else "none"
            for row in self.requests
        ]


def plan_for(
    directory: Path, port: int, shape: Rates | Clients | Bursts, **changes: object
) -> Plan:
    plan = Plan(
        run_id="0123456789abcdef",
        gate="some-gate",
        directory=str(directory),
        origin_s=time.monotonic(),
        load="turns",
        step="scenario.0",
        vars=msgspec.Raw(b"{}"),
        link=None,
        process="gateway",
        host="127.0.0.1",
        port=port,
        source="127.0.0.3",
        seed=7,
        first_seq=100,
        at_most=100_000,
        shape=shape,
        messages=[GET],
        timeout_s=5.0,
    )
    return msgspec.structs.replace(plan, **changes)


def run_load(
    directory: Path,
    script: Script,
    shape: Rates | Clients | Bursts,
    *,
    port: int | None = None,
    interrupt: Callable[[asyncio.subprocess.Process], None] | None = None,
    interrupt_after: int = 1,
    prefix: tuple[str, ...] = (),
    **changes: object,
) -> Result:
    """One load from its plan to its end.

    `interrupt` is called once the server has seen `interrupt_after` requests; `port` stands in for the
    server's; `prefix` is put before the command.
    """

    async def run() -> Result:
        async with scripted(script) as server:
            plan = plan_for(directory, port or server.port, shape, **changes)
            process = await asyncio.create_subprocess_exec(
                *prefix,
                sys.executable,
                "-m",
                "chaos.load",
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(msgspec.json.encode(plan) + b"\n")
            if interrupt is not None:
                while len(server.requests) < interrupt_after:  # noqa: ASYNC110 - the server only counts
                    await asyncio.sleep(0.002)
                interrupt(process)
            output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
            exit_code = await process.wait()
            return read_result(directory, output, errors.decode(), server, exit_code)

    return asyncio.run(asyncio.wait_for(run(), 60))


def read_result(
    directory: Path, output: bytes, errors: str, server: Scripted, exit_code: int
) -> Result:
    messages = [msgspec.json.decode(line, type=Began | Summary) for line in output.splitlines()]
    summaries = [message for message in messages if isinstance(message, Summary)]
    requests = rows(directory / "requests.turns.jsonl", "requests", schema.Request)
    responses = rows(directory / "responses.turns.jsonl", "responses", schema.Response)
    by_seq = {row.seq: row for row in responses}
    assert len(by_seq) == len(responses), "a request was completed twice"
    return Result(summaries[0] if summaries else None, requests, by_seq, server, exit_code, errors)


def rows(path: Path, table: str, struct: type[R]) -> list[R]:
    """All rows of a file; each has exactly the columns of its table."""
    found: list[R] = []
    if not path.is_file():
        # A device stands in for the file.
        return found
    for line in path.read_bytes().splitlines():
        columns = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        assert set(columns) == set(schema.raw_columns(table))
        found.append(msgspec.json.decode(line, type=struct))
    return found
