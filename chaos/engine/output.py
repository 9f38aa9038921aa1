"""What a command writes, read to its end and kept up to a bound."""

import asyncio
import contextlib

READ_BYTES = 1 << 16


class Output:
    """What it has written to its output and to its errors; of both together `most_bytes` are kept."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = self._left_bytes = most_bytes
        self.beyond_bytes = 0
        self.output = bytearray()
        self.errors = bytearray()

    def add(self, data: bytes, to: bytearray) -> None:
        """Keep what there is room for."""
        to += data[: self._left_bytes]
        self.beyond_bytes += max(0, len(data) - self._left_bytes)
        self._left_bytes -= min(len(data), self._left_bytes)

    @property
    def excess(self) -> str | None:
        """What to say of what is not kept, or None."""
        if not self.beyond_bytes:
            return None
        return f"wrote {self.beyond_bytes} bytes more than the {self.most_bytes} that are kept"


async def communicate(process: asyncio.subprocess.Process, stdin: bytes, wrote: Output) -> None:
    """Give a process its input and read what it writes into `wrote`, until it has ended."""
    await asyncio.gather(
        _write(process.stdin, stdin),
        _read(process.stdout, wrote, wrote.output),
        _read(process.stderr, wrote, wrote.errors),
        process.wait(),
    )


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    # Whoever does not want its input closes it.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader | None, wrote: Output, into: bytearray) -> None:
    assert stream is not None
    while data := await stream.read(READ_BYTES):
        wrote.add(data, into)
