"""What a command writes, read to its end and kept up to a bound."""

import asyncio
import contextlib

from msgspec import Struct

READ_BYTES = 1 << 16


class Output(Struct):
    """What it wrote to its output and to its errors, and of how many bytes more nothing is kept."""

    output: bytearray
    errors: bytearray
    left_bytes: int
    beyond_bytes: int = 0


async def communicate(process: asyncio.subprocess.Process, stdin: bytes, most_bytes: int) -> Output:
    """Give a process its input and read what it writes until it has ended; of both outputs together `most_bytes` are kept."""
    result = Output(bytearray(), bytearray(), most_bytes)
    await asyncio.gather(
        _write(process.stdin, stdin),
        _read(process.stdout, result.output, result),
        _read(process.stderr, result.errors, result),
        process.wait(),
    )
    return result


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    # Whoever does not want its input closes it.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader | None, into: bytearray, result: Output) -> None:
    assert stream is not None
    while data := await stream.read(READ_BYTES):
        into += data[: result.left_bytes]
        result.beyond_bytes += max(0, len(data) - result.left_bytes)
        result.left_bytes -= min(len(data), result.left_bytes)
