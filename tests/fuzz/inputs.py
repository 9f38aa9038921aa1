"""Inputs that somebody might hand to the harness, and what may come of them: an answer, never a crash.

An input is one file of a project, of a run or of a release with something done to it. Whatever the harness raises on
purpose is an answer; so is an exit code that is none of a pass.
"""

import base64
import contextlib
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from chaos.errors import ChaosError
from chaos.evidence.sealing import Loader
from gates.cli import main
from gates.judge import connection
from gates.lint.gate import lint
from gates.release.report import EXIT_MEANING, EXIT_PROMOTE
from gates.run import session
from gates.spec.project import read_project
from gates.spec.snapshot import judged_of
from tests.builders.small_project import FILES, write_project
from tests.builders.small_release import SmallRelease
from tests.gates.judge.runs import Run, verdict_of

CORPUS = Path(__file__).parents[1] / "corpus"
COLLECTED = {"orders": {"id": "BIGINT"}}
HOSTILE = [
    b"true", b"null", b"[]", b"{}", b"''", b"-1", b"0", b".nan", b".inf", b"1e-999999999", b"1e400", b"9" * 1200, b"&a ", b"*a",
    b"!x ", b"\t", b"\n", b"- ", b": ", b"? ", b"| ", b"#", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xa8", b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80", b"\x1b[31m", b"::error::x", b"\\ud800", b"[" * 3000, b"{\"a\":" * 2000, b"x" * 6000, b"'", b'"', b"`",
    b"{{", b"}}", b"{python}", b"<<: ", b"999999999h", b"1000000000", b"/(a+)+$/", b"../..", b"/dev/zero", b"run: ''\n",
    b"repeat: 1000000000\n", b"select 1; select 2", b"random()", b"range(1000000000000)", b"NaN", b"-Infinity", b"1e308",
]  # fmt: skip

Edit = tuple[int, int, bytes]
"""(where, how many bytes go, what comes), the place counted modulo the length."""
EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 20),
        st.integers(0, 60),
        st.sampled_from(HOSTILE) | st.binary(max_size=8),
    ),
    min_size=1,
    max_size=4,
)


class Input(Struct, frozen=True):
    """One file with its content: what it is of, its name there, and its bytes in base64."""

    kind: str
    name: str
    data: str

    @property
    def content(self) -> bytes:
        """The bytes."""
        return base64.b64decode(self.data)

    def path(self, directory: Path) -> Path:
        """Where it is kept, under a name of its own."""
        digest = hashlib.sha256(f"{self.name} {self.data}".encode()).hexdigest()
        return directory / f"{self.kind}-{digest[:12]}.json"

    def save(self, directory: Path) -> Path:
        """Write it down."""
        directory.mkdir(parents=True, exist_ok=True)
        path = self.path(directory)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
        return path


def of(kind: str, name: str, content: bytes) -> Input:
    """An input of these bytes."""
    return Input(kind, name, base64.b64encode(content).decode())


def kept(directory: Path = CORPUS) -> dict[str, Input]:
    """Inputs that were found once, by their files."""
    return {
        path.stem: msgspec.json.decode(path.read_bytes(), type=Input)
        for path in sorted(directory.glob("*.json"))
    }


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    """The content with all edits, one after the other."""
    for where, gone, new in edits:
        place = where % (len(content) + 1)
        content = content[:place] + new + content[place + gone :]
    return content


class Surface(Protocol):
    """Something that reads files of others: `files` are right, and `try_it` says what is made of another content."""

    files: Mapping[str, bytes]

    def try_it(self, name: str, content: bytes) -> None:
        """Raises whatever is no answer."""


class Specs:
    """A small project, through all of lint and what explains its gates."""

    def __init__(self, scratch: Path) -> None:
        self._root = scratch / "specs"
        write_project(self._root)
        self.files = {
            name: text.encode() for name, text in FILES.items() if name.startswith("specs/")
        }

    def try_it(self, name: str, content: bytes) -> None:
        path = self._root / name
        path.write_bytes(content)
        try:
            project = read_project(self._root / "specs")
            for problem in lint(project):
                assert problem.line >= 1 and problem.column >= 1 and problem.message
                problem.render().encode()
            command("--specs", str(self._root / "specs"), "explain", "first", "--full")
        finally:
            path.write_bytes(self.files[name])


class Evidence:
    """The files of one run, sealed and judged."""

    def __init__(self, scratch: Path) -> None:
        self._evidence = connection.open_blank(COLLECTED, [scratch])
        self._run = Run(scratch / "run", gate="first").plain(20).close()
        self._loader = Loader(self._evidence.connection, COLLECTED)
        project = read_project(write_project(scratch / "project"))
        gate = project.gates["first"]
        self._judged = judged_of(gate, project.targets[gate.target])
        self.files = {path.name: path.read_bytes() for path in sorted(self._run.glob("*.jsonl"))}

    def try_it(self, name: str, content: bytes) -> None:
        path = self._run / name
        path.write_bytes(content)
        try:
            with contextlib.suppress(ChaosError):
                self._loader.load([self._run])
                self._evidence.refresh()
                verdict_of(self._evidence, self._judged)
        finally:
            path.write_bytes(self.files[name])


class Bundles:
    """A small release, verified and told."""

    def __init__(self, scratch: Path) -> None:
        made = SmallRelease(scratch / "release")
        made.release()
        self._release = made.directory
        self.files = {
            str(path.relative_to(self._release)): path.read_bytes()
            for path in sorted(self._release.rglob("*"))
            if path.is_file() and path.suffix != ".html"
        }

    def try_it(self, name: str, content: bytes) -> None:
        path = self._release / name
        path.write_bytes(content)
        try:
            if content != self.files[name]:
                assert command("verify", str(self._release)) != EXIT_PROMOTE, f"{name} verifies"
            command("judge", str(self._release))
            command("report", str(self._release), "--format", "markdown", "-o", "/dev/null")
            command("report", str(self._release))
        finally:
            path.write_bytes(self.files[name])


SURFACES: Mapping[str, Callable[[Path], Surface]] = {
    "specs": Specs,
    "evidence": Evidence,
    "bundles": Bundles,
}


def command(*arguments: str) -> int:
    """The exit code of one command, which is one that is documented."""
    session.project_of.cache_clear()

    with contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    assert code in EXIT_MEANING
    return code
