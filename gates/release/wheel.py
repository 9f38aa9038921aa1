"""The wheel of a release: built from the tree that was run, and compared with what was run."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError, told
from gates.release.stored import read, written

FOLDER = "wheel"
FILE = "build.json"
BUILD_LIMIT_S = 180.0


class Build(Struct, frozen=True, kw_only=True):
    """`build.json`: the wheel's file name, or why there is none."""

    wheel: str | None
    why: str | None


def build_wheel(root: Path, release: Path) -> Build:
    """Build the wheel of the project at `root` into the release directory, without any network.

    The back-end must be installed: an isolated build would fetch one that nothing has checked.
    """
    if not (root / "pyproject.toml").is_file():
        return _noted(release, Build(wheel=None, why="there is no pyproject.toml to build from"))
    with tempfile.TemporaryDirectory(prefix="gates-wheel-") as scratch:
        why = _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", scratch], root)
        built = sorted(Path(scratch).glob("*.whl"))
        if why is not None or len(built) != 1:
            return _noted(release, Build(wheel=None, why=why or f"{len(built)} wheels were built"))
        folder = release / FOLDER
        folder.mkdir()
        (folder / built[0].name).write_bytes(regular.read(built[0]))
        return _noted(release, Build(wheel=built[0].name, why=None))


def no_wheel(release: Path, why: str) -> Build:
    """Note that no wheel was built, and why."""
    return _noted(release, Build(wheel=None, why=why))


def build_of(release: Path) -> Build:
    """What was noted of the build; HarnessError when that cannot be read."""
    return read(release / FILE, Build)


def contents(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel by its path; HarnessError when it cannot be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {
                entry.filename: archive.read(entry)
                for entry in archive.infolist()
                if not entry.is_dir()
            }
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise HarnessError(f"cannot read {wheel}: {told(error, wheel)}") from error


def source_digest(files: Mapping[str, bytes], folders: Sequence[str]) -> str:
    """The digest that a run records of its source, of files that are held in memory."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(_below(files, folder)):
            content = hashlib.sha256(files[str(path)]).hexdigest()
            digest.update(f"{path} {content}\n".encode())
    return digest.hexdigest()


def _below(files: Iterable[str], folder: str) -> list[PurePosixPath]:
    paths = [PurePosixPath(file) for file in files]
    return [
        path for path in paths if path.is_relative_to(folder) and "__pycache__" not in path.parts
    ]


def _run(command: list[str], root: Path) -> str | None:
    """None when it worked, otherwise what went wrong."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        result = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the build did not run to its end: {told(error)}"
    if result.returncode == 0:
        return None
    lines = result.stderr.strip().splitlines()
    return f"the build failed: {lines[-1] if lines else f'exit code {result.returncode}'}"


def _noted(release: Path, build: Build) -> Build:
    (release / FILE).write_bytes(written(build))
    return build
