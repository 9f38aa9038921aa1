"""Runs tests against copies: a file of them as it is, to see which lines each executes, and some of them per mutant."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from chaos import regular
from chaos.errors import HarnessError
from chaos.guard import Guard, end_process
from gates.mutants.asking import Answer, OfMutant, Question
from gates.mutants.evaluate import Finding, Outcome
from gates.mutants.mutations import mutate
from gates.mutants.watched import Execution, Watched
from gates.prove.copies import copy_sources
from gates.run.bench import Bench, Said
from gates.run.bytecode import compile_sources
from gates.run.interrupts import run_async
from gates.run.lines import OUT, ROOT, Lines

LIMIT_S = 30.0
LIMIT_FACTOR = 4.0
"""Tests may take this many times as long with a mutant as without, and `LIMIT_S` more."""
_WATCH_WITHIN_S = 600.0
_NOT_COPIED = frozenset({"runs", "releases", "build", "dist", "__pycache__"})
_RED = re.compile(r"(?m)^(?:FAILED|ERROR) (\S+?\.py::.*?)(?: - (.*))?$")
_PASSED, _FAILED = 0, 1


class Watching(Question[Watched], frozen=True, kw_only=True):
    """A file of tests to be watched in a copy of `root`, which is a prepared one; `sources` are the folders whose
    lines count."""

    gives = Answer[Watched]
    kind = Watched
    root: Path
    file: str
    sources: list[str]

    def find(self, bench: Bench) -> Watched:  # noqa: ARG002 - tests need no session
        """Run them against an unchanged copy. HarnessError when that cannot be done."""
        with _copy(self.root) as (guard, root):
            out = guard.directory / "lines"
            out.mkdir()
            environment = {ROOT: str(root), OUT: str(out)}
            arguments = ["-p", "gates.mutants.watching", self.file]
            _, said = _pytest(guard, root, arguments, environment, _WATCH_WITHIN_S)
            try:
                found = msgspec.json.decode(regular.read(out / "watched.json"), type=Watched)
            except OSError:
                raise HarnessError(f"{self.file} could not be watched: {said[-2000:]}") from None
        return Watched(
            tests=[
                Execution(id=each.id, seconds=each.seconds, lines=_below(each.lines, self.sources))
                for each in found.tests
            ],
            imported=_below(found.imported, self.sources),
            red=found.red,
            shared_s=found.shared_s,
        )

    def said(self, result: Answer[Watched]) -> Said:
        """How many tests there are, and which cannot be asked."""
        red = [f"left out, as it fails without any mutant: {name}" for name in result.found.red]
        tests = len(result.found.tests)
        return Said("", f"{self.label}: {tests} tests", red, tries=result.tries)


class Attack(OfMutant, frozen=True, kw_only=True):
    """A mutation and the tests to run against it in a copy of `root`, in this order."""

    root: Path
    tests: list[str]

    def find(self, bench: Bench) -> Finding:  # noqa: ARG002 - tests need no session
        """Run them until one notices it."""
        began_s = time.monotonic()
        left = [test for test in self.tests if _alone.get((self.root, test), True)]
        with _copy(self.root) as (guard, root):
            mutate(root, self.mutation)
            found = _attack(guard, root, left, self)
            while found is None:
                found = _attack(guard, root, left, self)
        return msgspec.structs.replace(found, seconds=time.monotonic() - began_s)


def _attack(guard: Guard, root: Path, left: list[str], asked: Attack) -> Finding | None:
    """What the tests that are left say; None when one failed that shows nothing, which is then left no more.

    A failure counts when the test fails again, alone, and alone without the mutant passes: chance would kill anything,
    and so would a test that needs others before it.
    """
    if not left:
        return _finding("survived")
    code, said = _selected(guard, root, left, asked.within_s)
    red = _RED.search(said) if code == _FAILED else None
    if code is None:
        return _finding("timed out")
    if red is None or red[1] not in left:
        last = said.rstrip().rpartition("\n")[2]
        return (
            _finding("survived")
            if code == _PASSED
            else _finding("not viable", f"exit {code}: {last}")
        )
    again, _ = _selected(guard, root, [red[1]], asked.within_s)
    if again == _FAILED and _stands_alone(asked, red[1]):
        return msgspec.structs.replace(_finding("killed", red[2] or ""), by=[red[1]])
    del left[: left.index(red[1]) + 1]
    return None


_alone: dict[tuple[Path, str], bool] = {}


def _stands_alone(asked: Attack, test: str) -> bool:
    """Whether a test passes alone, without any mutant; tried once in each worker."""
    key = (asked.root, test)
    if key not in _alone:
        with _copy(asked.root) as (guard, root):
            code, _ = _selected(guard, root, [test], asked.within_s)
        _alone[key] = code == _PASSED
    return _alone[key]


def _finding(outcome: Outcome, detail: str = "") -> Finding:
    return Finding(outcome=outcome, by=[], detail=detail, seconds=0)


def _below(lines: Lines, sources: Sequence[str]) -> Lines:
    return {
        file: each
        for file, each in lines.items()
        if any(Path(file).is_relative_to(source) for source in sources)
    }


@contextmanager
def prepared(root: Path, sources: Sequence[str]) -> Iterator[Path]:
    """A copy of the project, without what was made in it or is hidden, that others are made of; gone afterwards.

    Its sources are compiled, so that not every process of every test does that. HarnessError says what no copy holds.
    """
    guard = Guard()
    try:
        into = guard.directory / "prepared"
        names = [path.name for path in sorted(root.iterdir()) if not path.name.startswith(".")]
        copy_sources(root, [name for name in names if name not in _NOT_COPIED], into)
        compile_sources(into, list(sources))
        yield into
    finally:
        guard.close()
        shutil.rmtree(guard.directory, ignore_errors=True)


@contextmanager
def _copy(of: Path) -> Iterator[tuple[Guard, Path]]:
    """A copy of a prepared one; it and what was started in it are gone afterwards."""
    guard = Guard()
    try:
        yield guard, Path(shutil.copytree(of, guard.directory / "copy"))
    finally:
        guard.close()
        shutil.rmtree(guard.directory, ignore_errors=True)


def _selected(
    guard: Guard, root: Path, tests: Sequence[str], within_s: float
) -> tuple[int | None, str]:
    listed = guard.directory / "tests.txt"
    listed.write_text("\n".join(tests) + "\n", encoding="utf-8")
    return _pytest(guard, root, ["-x", f"@{listed}"], {}, within_s)


def _pytest(
    guard: Guard, root: Path, arguments: Sequence[str], more: Mapping[str, str], within_s: float
) -> tuple[int | None, str]:
    """Its exit code, None after `within_s`, and what it printed."""
    scratch = guard.directory / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no"]
    command += ["-p", "no:cacheprovider", f"--basetemp={scratch / 'pytest'}", *arguments]
    environment = {
        # Nothing of the run of pytest that a worker belongs to.
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTHONPATH": str(root),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(scratch),
        **more,
    }
    output = guard.directory / "output.txt"
    code = run_async(lambda: _run(guard, command, environment, root, output, within_s))
    return code, regular.read(output).decode(errors="replace")


async def _run(
    guard: Guard,
    command: list[str],
    environment: Mapping[str, str],
    root: Path,
    output: Path,
    within_s: float,
) -> int | None:
    with output.open("wb") as file:
        process = await guard.spawn(command, env=environment, stdout=file, stderr=file, cwd=root)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await process.wait()
        return None
    finally:
        await end_process(process, 0)
