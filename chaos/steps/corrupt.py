"""`corrupt`: damage a file the way a disk or a crash does."""

from pathlib import Path

import msgspec

from chaos import regular
from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Corrupt(Step, frozen=True, kw_only=True):
    """`corrupt: "{state}/control.db"` with one of `truncate_to`, `flip`, `fill` and `append`.

    `truncate_to` is the number of bytes that stay; `flip` the offset of a byte whose bits are inverted,
    negative from the end; `fill` the offset from which `length` bytes become 0xFF; `append` a text.
    """

    corrupt: str
    truncate_to: int | None = None
    flip: int | None = None
    fill: int | None = None
    length: int = 1
    append: str | None = None

    def problem(self) -> str | None:
        """Why this cannot be carried out, or None."""
        ways = (self.truncate_to, self.flip, self.fill, self.append)
        if sum(way is not None for way in ways) != 1:
            return "`corrupt` needs exactly one of truncate_to, flip, fill and append"
        if (self.truncate_to or 0) < 0 or self.length < 1:
            return "a number of bytes cannot be negative"
        return None


async def run(step: Corrupt, scope: Scope) -> None:
    """Change the file in place; changing nothing is an error."""
    path = scope.writable(step.corrupt)
    if not path.is_file():
        raise HarnessError(f"{path.name} does not exist, so it cannot be corrupted")
    before = regular.read(path)
    if step.append is not None:
        step = msgspec.structs.replace(step, append=scope.variables.text(step.append))
    after = damage(step, before)
    if after == before:
        raise HarnessError(f"corrupting {path.name} changed nothing")
    _overwrite(path, after)


def damage(step: Corrupt, data: bytes) -> bytes:
    """What becomes of a file's content. HarnessError when the offset is outside of it."""
    if step.truncate_to is not None:
        return data[: step.truncate_to]
    if step.append is not None:
        return data + step.append.encode()
    if step.flip is not None:
        offset = _offset(step.flip, data)
        return data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]
    offset = _offset(step.fill or 0, data)
    end = min(len(data), offset + step.length)
    return data[:offset] + b"\xff" * (end - offset) + data[end:]


def _offset(offset: int, data: bytes) -> int:
    found = offset + len(data) if offset < 0 else offset
    if not 0 <= found < len(data):
        raise HarnessError(f"offset {offset} is outside of the {len(data)} bytes of the file")
    return found


def _overwrite(path: Path, content: bytes) -> None:
    """In place, as a disk would: who has the file open sees it."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


KIND = Kind("corrupt", Corrupt, run, paths={"corrupt": "written"})
