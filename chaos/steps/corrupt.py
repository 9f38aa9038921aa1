"""`corrupt`: damage a file the way a disk or a crash does."""

from pathlib import Path

from chaos.engine.scope import Scope
from chaos.errors import HarnessError
from chaos.spec.step import Step


class Corrupt(Step, frozen=True, kw_only=True):
    """`corrupt: "{state}/control.db"` with one of `truncate_to` (bytes), `flip` (offset of a byte whose bits are
    inverted, negative from the end), `fill` (offset, then `length` bytes of 0xFF), `append` (text).
    """

    corrupt: str
    truncate_to: int | None = None
    flip: int | None = None
    fill: int | None = None
    length: int = 1
    append: str | None = None


async def run(step: Corrupt, scope: Scope) -> None:
    """Change the file in place; changing nothing is an error."""
    path = Path(scope.variables.text(step.corrupt))
    if not path.is_file():
        raise HarnessError(f"{path.name} does not exist, so it cannot be corrupted")
    before = path.read_bytes()
    after = _damage(step, before)
    if after == before:
        raise HarnessError(f"corrupting {path.name} changed nothing")
    with path.open("r+b") as file:
        file.write(after)
        file.truncate()


def _damage(step: Corrupt, data: bytes) -> bytes:
    if step.truncate_to is not None:
        return data[: step.truncate_to]
    if step.append is not None:
        return data + step.append.encode()
    offset = step.flip if step.flip is not None else step.fill
    if offset is None:
        raise HarnessError("`corrupt` needs one of truncate_to, flip, fill and append")
    offset += len(data) if offset < 0 else 0
    if not 0 <= offset < len(data):
        raise HarnessError(f"offset {offset} is outside of the {len(data)} bytes of the file")
    end = min(len(data), offset + (1 if step.flip is not None else step.length))
    damaged = (
        bytes(byte ^ 0xFF for byte in data[offset:end])
        if step.flip is not None
        else b"\xff" * (end - offset)
    )
    return data[:offset] + damaged + data[end:]
