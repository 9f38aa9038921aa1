"""A small release with proofs, made by the real code from runs that are written down instead of run."""

import copy
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import msgspec

from chaos.evidence.recorder import Recorder, as_json
from gates.prove.copies import apply, copy_sources
from gates.prove.evaluate import Trial
from gates.prove.jobs import Job, jobs_of, key_of
from gates.prove.kept import FOLDER, find
from gates.prove.proving import kept_of, ship, stale_of
from gates.release import ledger
from gates.release.conclude import conclude
from gates.release.report import Report
from gates.run.session import Options, Session, open_session, project_of, tree_digest
from gates.run.store import Store
from gates.spec.gate import Gate
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of
from tests.builders.small_project import write_project
from tests.gates.judge.runs import Run

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "shop"
version = "1.0"
[tool.hatch.build.targets.wheel]
packages = ["shop"]
"""

RELEASE = """\
release: v1
title: t
contract_version: v1
contract: contract.json
target: shop
floor: 1
delta: 1
epics: [A]
config: {}
source: [shop, specs]
gates:
  - {id: F1, gate: second, class: floor, since: v0}
  - {id: A1, gate: first, class: delta, since: v1}
invariants:
  - {id: complete, statement: All gates are there, check: counts}
  - {id: one-system, statement: All ran against the same, check: same-digests}
  - {id: pinned, statement: The floor is the same, check: pins}
  - {id: committed, statement: All is committed, check: clean-source}
limits: []
"""

TARGET = """\
target: shop
source: [shop]
processes:
  web: {run: "{python} -m shop {port.web}", port: 8000}
default: web
collect:
  - table: orders
    sqlite: "{state}/shop.db"
    columns: {id: BIGINT}
"""

GATE = """\
gate: first
id: A1
class: delta
epic: A
title: t
why: w
target: shop
control: [{request: {get: /ready}}]
scenario: [{request: {get: /x}}]
with:
  zealous: {query: "select *, status = 200 as good from requests", at_least: 5}
  answers: {query: select * from zealous where good is not null, at_least: 5}
assert:
  - that: all is well
    from: requests where step = 'turns'
    at_least: 10
    every: status = 200
  - that: most are good
    from: answers
    at_least: 10
    share: good
    is: ">= 0.9"
falsified_by:
  - defect: all is refused
    file: shop/app.py
    replace: "return True"
    with: "return False"
    fails: [all is well, most are good]
"""

SECOND = """\
gate: second
id: F1
class: floor
title: t
why: w
target: shop
control: [{request: {get: /ready}}]
scenario: [{request: {get: /x}}]
assert:
  - that: it answers
    from: requests
    at_least: 1
    every: status = 200
falsified_by:
  - defect: nothing is allowed
    file: shop/app.py
    replace: "return True"
    with: "return None"
    fails: [it answers]
"""

FILES: Mapping[str, str | None] = {
    # Without it no wheel is built, which takes most of the time.
    "pyproject.toml": None,
    ".gitignore": "/runs/\n/releases/\n",
    "specs/release.yaml": RELEASE,
    "specs/targets/shop.yaml": TARGET,
    "specs/scenarios/restart.yaml": None,
    "specs/gates/a/first.yaml": GATE,
    "specs/gates/second.yaml": SECOND,
}


class SmallRelease:
    """A project below `root` and what comes of it. Every run in it answers what it is told to.

    Its releases have no page, which is a third of making one, unless they are `drawn`.
    """

    def __init__(
        self,
        root: Path,
        changes: Mapping[str, str | None] | None = None,
        *,
        name: str = "first",
        load: str | None = None,
        named: Path | None = None,
        drawn: bool = False,
    ) -> None:
        self.root = root
        self.drawn = drawn
        self.load = load
        self.named = named
        files = {**FILES, **(changes or {})}
        release = files["specs/release.yaml"] or ""
        files["specs/release.yaml"] = release.replace("gate: first", f"gate: {name}")
        self.specs = write_project(root, files)
        self.releases = root / "releases"
        for command in (
            ["init", "-q"],
            ["add", "-A"],
            ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "t"],
        ):
            subprocess.run(["git", "-C", str(root), *command], check=True, timeout=30)

    def copied(self, root: Path) -> Self:
        """The same with all that came of it, elsewhere."""
        shutil.copytree(self.root, root, symlinks=True)
        again = copy.copy(self)
        again.root, again.releases = root, root / "releases"
        again.specs = root / self.specs.relative_to(self.root)
        return again

    @property
    def directory(self) -> Path:
        """Where the release lies."""
        return self.releases / "v1"

    @property
    def commit(self) -> str:
        """Of the project."""
        asked = ["git", "-C", str(self.root), "rev-parse", "HEAD"]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()

    def session(self) -> tuple[Session, Project]:
        """A new full session, with its line in the ledger."""
        project_of.cache_clear()
        options = Options(
            specs=str(self.specs.resolve()),
            page=self.drawn,
            ledger=str(self.named) if self.named is not None else None,
        )
        session = open_session(options, self.root / "runs", lambda _: None)
        project = project_of(options.specs)
        ledger.append(
            self.releases,
            ledger.Attempt(
                session=session.id,
                at_ms=session.started_at_ms,
                inputs=session.inputs,
                release="v1",
                gates={name: sha256_of(project.gates[name]) for name in session.gates},
            ),
            session.ledger,
        )
        return session, project

    def release(
        self,
        status: Callable[[str], int] = lambda _gate: 200,
        *,
        prove: bool = True,
        key: Path | None = None,
        interrupted: bool = False,
    ) -> Report:
        """One full run: every request of a gate is answered with its `status`."""
        session, project = self.session()
        for name in session.gates:
            gate = project.gates[name]
            self.record(session.gate_directory(name, 0), session, project, gate, status(name))
        if prove:
            self.prove(session, project)
        ship(kept_of(session, project, self.store), session, project, session.path / FOLDER)
        return conclude(session, self.releases, interrupted=interrupted, key=key)[0]

    @property
    def store(self) -> Store:
        """Where its trials are kept."""
        return Store(self.root / "runs" / FOLDER)

    def prove(self, session: Session, project: Project) -> None:
        """Make the trials of every gate that are not kept, as they would have been run."""
        stale = stale_of(session, project)
        for name in session.gates:
            for job in jobs_of(project.gates[name], 46, stale[name]):
                if find(self.store, key_of(session, project, job)) is None:
                    self._try(session, project, job)

    def _try(self, session: Session, project: Project, job: Job) -> None:
        gate = project.gates[job.gate]
        key = key_of(session, project, job)
        defect = gate.falsified_by[job.defect] if job.defect is not None else None
        with self.store.making() as place, tempfile.TemporaryDirectory() as scratch:
            edited = Path(scratch)
            copy_sources(Path(session.root), ["shop"], edited)
            edit = apply(defect, edited) if defect is not None else None
            run_id = self.record(
                place / gate.gate,
                session,
                project,
                gate,
                500 if defect is not None else 200,
                run_id=key,
                mode="defect" if defect is not None else "healthy",
                defect=defect.defect if defect is not None else None,
                source=tree_digest(edited, ["shop"]),
            )
            trial = Trial(
                gate=gate.gate,
                kind=job.kind,
                defect=defect.defect if defect is not None else None,
                seed=46,
                run_id=run_id,
                diff=edit.diff if edit is not None else "",
                executed=True if edit is not None else None,
            )
            self.store.keep(key, place, trial)

    def record(
        self,
        directory: Path,
        session: Session,
        project: Project,
        gate: Gate,
        status: int,
        source: str | None = None,
        run_id: str | None = None,
        *,
        attempt: int = 1,
        drift_ms: float = 0.1,
        **changes: object,
    ) -> str:
        """Write down one run of a gate; returns its id. `drift_ms` above 50 is a host that cannot be relied on."""
        digests = {
            **session.digests,
            "gate": sha256_of(gate),
            "target": sha256_of(project.targets[gate.target]),
            **({"source": source} if source is not None else {}),
        }
        run_id = run_id or f"{directory.parent.name}-{gate.gate}-{session.id[-6:]}"
        run = Run.__new__(Run)
        run.directory = directory
        run.recorder = Recorder(directory, run_id, gate.gate, [])
        run.begin(
            target="shop",
            seed=46,
            digests=as_json(digests),
            versions=as_json(session.versions),
            # One after the other, though nothing of it takes any time.
            epoch_ms=time.time() * 1000 + (attempt - 1) * 2000,
            attempt=attempt,
            **changes,
        )
        for number in range(20):
            run.request(sent_ms=10.0 + number, done_ms=12.0 + number, status=status, load=self.load)
        if self.load is not None:
            run.load(self.load, 20)
        run.step("control.0").step("scenario.0").end(clock_drift_ms=drift_ms).close()
        (directory / "output").mkdir()
        (directory / "output" / "000.web.log").write_text("ready\n")
        return run_id


def reread(directory: Path) -> Report:
    """The report as it lies there."""
    return msgspec.json.decode((directory / "gate-report.json").read_bytes(), type=Report)
