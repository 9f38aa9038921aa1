"""One session: some gates, or all of them, run against a frozen set of inputs.

Everything that a worker needs stands in `session.json` and `specs/`, written before anything starts, so that workers,
whichever process they live in, run the same thing and record the same digests.
"""

import hashlib
import importlib.metadata
import os
import platform
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.engine.plan import Plan, walk
from chaos.engine.run import Worker
from chaos.errors import HarnessError
from chaos.evidence.schema import Mode
from chaos.faults.base import FaultStep
from chaos.links.toxiproxy_binary import ToxiproxyBinary, cache_directory, locate
from chaos.spec.target import Target
from gates.run.bytecode import compile_sources
from gates.run.durations import in_order, last_runs
from gates.run.interrupts import run_async
from gates.spec.frozen import freeze
from gates.spec.gate import Gate
from gates.spec.project import Project, read_project
from gates.spec.snapshot import rows_by_name, sha256_of
from gates.spec.sources import files_below

VERSIONED = (
    "litestar",
    "msgspec",
    "duckdb",
    "apsw",
    "uvicorn",
    "uvloop",
    "httptools",
    "toxiproxy-python",
    "websockets",
)
LOCK_FILE = "constraints.txt"


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    specs: str
    only: tuple[str, ...] = ()
    part: Literal["all", "floor", "delta"] = "all"
    expression: str | None = None
    repeat: int = 1
    seed: int = 46
    keep: bool = False
    workers: int = 2
    allow_missing: bool = False
    page: bool = True
    ledger: str | None = None

    @property
    def full(self) -> bool:
        """Whether this is a run that may decide a release."""
        return not self.only and self.part == "all" and self.expression is None and self.repeat == 1


class Listed(Struct, frozen=True, kw_only=True):
    """Where a gate of a session is written, below the specs, and by what it is selected."""

    file: str
    id: str
    class_: str


class Session(Struct, frozen=True, kw_only=True):
    """The frozen inputs of a session. Paths are absolute; digests are SHA-256 in hex.

    `gates` are in the order of their ids, in which they are told, and `order` is the one in which they are run.
    """

    id: str
    directory: str
    options: Options
    root: str
    gates: list[str]
    digests: dict[str, str]
    versions: dict[str, str]
    toxiproxy: ToxiproxyBinary | None
    commit: str | None
    dirty: bool
    started_at_ms: float
    listed: dict[str, Listed] = {}
    order: list[str] = []
    mode: Mode = "healthy"
    defect: str | None = None

    @property
    def path(self) -> Path:
        """Where its evidence is."""
        return Path(self.directory)

    @property
    def ledger(self) -> Path | None:
        """The ledger of attempts that was named, None for the machine's own."""
        return Path(self.options.ledger) if self.options.ledger is not None else None

    @property
    def inputs(self) -> dict[str, str]:
        """What makes two sessions comparable: all digests, and the platform's versions."""
        return {**self.digests, "versions": sha256_of(self.versions)}

    @property
    def decides(self) -> bool:
        """Whether it may decide a release: all gates, against the system as it is."""
        return self.options.full and self.mode == "healthy"

    def version_of(self, release: str) -> str:
        """What its report calls the release: with defects it is another one."""
        return release if self.mode == "healthy" else f"{release}-{self.defect}"

    def save(self) -> None:
        """Write it down, where every worker reads it."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "session.json").write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    def file_of(self, gate: str) -> Path:
        """The YAML file of one of its gates."""
        return Path(self.options.specs) / self.listed[gate].file

    @property
    def frozen(self) -> dict[str, str]:
        """The files of its gates by name, below what was frozen."""
        return {name: listed.file for name, listed in self.listed.items()}

    def gate_directory(self, gate: str, repeat: int, attempt: int = 1) -> Path:
        """Where one run of one gate records; `0`, and `0.2` for its second attempt."""
        place = str(repeat) if attempt == 1 else f"{repeat}.{attempt}"
        return self.path / "gates" / place / gate


def open_session(options: Options, runs: Path, say: Callable[[str], None]) -> Session:
    """Freeze all inputs and write them down. SpecError and HarnessError say what is wrong with them."""
    # Read once: what was linted is what is frozen, and what this process runs.
    project = project_of(options.specs)
    names = chosen(project, options)
    exclusive = {name: project.gates[name].ever_alone for name in names}
    used = {project.gates[name].target for name in names}
    linked = any(project.targets[name].links for name in used if name in project.targets)
    toxiproxy = locate(os.environ, cache_directory(), say) if linked else None
    session_id = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
    root = project.root
    commit, dirty = _commit(root, project.release.source if project.release is not None else ["."])
    session = Session(
        id=session_id,
        directory=str((runs / session_id).resolve()),
        options=options,
        root=str(root),
        gates=names,
        listed={name: _listed(project, name) for name in names},
        order=in_order(exclusive, last_runs(runs), min(options.workers, len(names))),
        digests=digests_now(project, toxiproxy),
        versions=_versions(toxiproxy),
        toxiproxy=toxiproxy,
        commit=commit,
        dirty=dirty,
        started_at_ms=time.time() * 1000,
    )
    session.save()
    compile_sources(root, _without_trace(root, sources_of(project)))
    freeze(session.path, project, names)
    return session


def _without_trace(root: Path, sources: Iterable[str]) -> Iterator[str]:
    """Those in which git ignores bytecode: anywhere else it would be a change that nobody committed."""
    for source in sources:
        if _git(root, "check-ignore", "-q", f"{source}/__pycache__/module.pyc") is not None:
            yield source


def _listed(project: Project, name: str) -> Listed:
    gate = project.gates[name]
    file = project.files[name].relative_to(project.specs)
    return Listed(file=str(file), id=gate.id, class_=gate.class_)


@lru_cache(maxsize=4)
def load_session(path: str) -> Session:
    """The session that was written to `path`, in any worker."""
    return msgspec.json.decode(regular.read(Path(path) / "session.json"), type=Session)


@lru_cache(maxsize=4)
def project_of(specs: str) -> Project:
    """The project of a session, read once per worker."""
    return read_project(Path(specs))


def chosen(project: Project, options: Options) -> list[str]:
    """Names of the gates to run, in the order of their ids. HarnessError names what is not a gate."""
    ordered = sorted(project.gates.values(), key=_place)
    if options.part != "all":
        ordered = [gate for gate in ordered if gate.class_ == options.part]
    if not options.only:
        return [gate.gate for gate in ordered]
    names = []
    for wanted in options.only:
        name = project.gate_by(wanted)
        if name is None:
            listed = project.release.gates if project.release is not None else []
            known = any(wanted in (gate.id, gate.gate) for gate in listed)
            reason = "is listed in release.yaml but has no file yet" if known else "is not a gate"
            raise HarnessError(f"{wanted!r} {reason}; `python -m gates list` shows all")
        names.append(name)
    return [gate.gate for gate in ordered if gate.gate in names]


def plan_of(
    session: Session, project: Project, gate: Gate, repeat: int = 0, attempt: int = 1
) -> Plan:
    """What the engine is to do for one run of one gate."""
    target = project.targets[gate.target]
    return Plan(
        run_id=secrets.token_hex(8),
        gate=gate.gate,
        target=target,
        needs=tuple(gate.needs or target.processes),
        config=gate.config,
        control=tuple(gate.control),
        scenario=tuple(gate.scenario),
        shared=gate.isolation == "shared",
        nominal_ports=gate.nominal_ports,
        mode=session.mode,
        defect=session.defect,
        seed=session.options.seed + repeat,
        digests={
            **session.digests,
            "gate": project.judged(gate.gate).spec_sha256,
            "target": project.target_digest(gate.target),
        },
        versions=session.versions,
        directory=session.gate_directory(gate.gate, repeat, attempt),
        attempt=attempt,
        source_root=Path(session.root),
        toxiproxy=Path(session.toxiproxy.path) if session.toxiproxy is not None else None,
        keep=session.options.keep,
        data=rows_by_name(gate),
        bounds=project.bounds,
    )


def exercise_plans(session: Session, project: Project) -> Iterator[Plan]:
    """One plan per target that a chosen gate puts a fault on: its links must carry bytes when all is well."""
    faulted = {
        project.gates[name].target for name in session.gates if has_faults(project.gates[name])
    }
    for name in sorted(faulted):
        target = project.targets[name]
        yield Plan(
            run_id=secrets.token_hex(8),
            gate=exercise_name(target.target),
            target=target,
            needs=tuple(target.processes),
            config={},
            control=(),
            scenario=tuple(target.exercise),
            shared=False,
            nominal_ports=False,
            mode="healthy",
            defect=None,
            seed=session.options.seed,
            digests={**session.digests, "target": sha256_of(target)},
            versions=session.versions,
            directory=session.gate_directory(exercise_name(target.target), 0),
            source_root=Path(session.root),
            toxiproxy=Path(session.toxiproxy.path) if session.toxiproxy is not None else None,
            keep=False,
            link_check=True,
        )


def exercise_name(target: str) -> str:
    """What evidence calls the exercise of a target's links."""
    return f"exercise-{target}"


def exercise(session: Session) -> None:
    """Run the exercise of every target that needs one."""
    plans = list(exercise_plans(session, project_of(session.options.specs)))
    if plans:
        run_async(lambda: _exercise(plans))


async def _exercise(plans: Iterable[Plan]) -> None:
    worker = Worker("exercise")
    try:
        for plan in plans:
            await worker.run(plan)
    finally:
        await worker.close()


def collected_of(targets: Mapping[str, Target]) -> dict[str, dict[str, str]]:
    """Columns of every table that any of these targets collects."""
    return {table.table: table.columns for target in targets.values() for table in target.collect}


def has_faults(gate: Gate) -> bool:
    """Whether any step of the gate is a fault."""
    return any(
        isinstance(step, FaultStep) for _, step in walk(tuple(gate.control + gate.scenario), "")
    )


def prune(runs: Path, keep: int) -> None:
    """Remove the oldest sessions beyond `keep`."""
    sessions = sorted(path for path in runs.glob("*Z-*") if path.is_dir())
    for path in sessions[: max(0, len(sessions) - keep)]:
        shutil.rmtree(path, ignore_errors=True)


def _place(gate: Gate) -> tuple[str, str, int]:
    order = {"floor": "0", "delta": "1"}[gate.class_]
    number = "".join(character for character in gate.id if character.isdigit())
    return order, gate.id.rstrip("0123456789"), int(number or 0)


def digests_now(project: Project, toxiproxy: ToxiproxyBinary | None) -> dict[str, str]:
    """SHA-256 in hex of everything that all gates of a session share, as it is on disk now."""
    lock = project.root / LOCK_FILE
    digests = {
        "release": sha256_of(project.release),
        "harness": tree_digest(Path(__file__).resolve().parents[2], ["chaos", "gates"]),
        "lock": hashlib.sha256(regular.read(lock)).hexdigest() if lock.exists() else "",
        "toxiproxy": toxiproxy.sha256 if toxiproxy is not None else "",
    }
    return digests | {"source": tree_digest(project.root, sources_of(project))}


def sources_of(project: Project) -> list[str]:
    """The folders of every target's source."""
    return sorted({source for target in project.targets.values() for source in target.source})


def tree_digest(root: Path, folders: Sequence[str]) -> str:
    """SHA-256 in hex over names and contents of all files below `folders`, bytecode left out."""
    digest = hashlib.sha256()
    for path in files_below(root, folders):
        content = hashlib.sha256(regular.read(path)).hexdigest()
        digest.update(f"{path.relative_to(root)} {content}\n".encode())
    return digest.hexdigest()


def _versions(toxiproxy: ToxiproxyBinary | None) -> dict[str, str]:
    return _installed() | ({"toxiproxy": toxiproxy.version} if toxiproxy is not None else {})


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    """What this process runs with, which stays as it is."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in VERSIONED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _commit(root: Path, paths: Sequence[str]) -> tuple[str | None, bool]:
    """(commit, dirty): without git, or outside of a repository, there is no commit and all is dirty."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, True
    changed = _git(root, "status", "--porcelain", "--untracked-files=normal", "--", *paths)
    return commit.strip(), changed is None or bool(changed.strip())


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def default_workers() -> int:
    """One more than cores, as gates wait for much; more of them would slow what they measure."""
    return min(8, (os.cpu_count() or 1) + 1)
