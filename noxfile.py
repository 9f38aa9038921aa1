"""The commands of this repository. `nox -l` lists them; each works in a fresh clone."""

import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["gates"]

# A session starts hundreds of short processes: each would compile the harness and SONIA anew, a third of what it costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
CONSTRAINTS = "constraints.txt"
STAMP = "installed-from.sha256"
# A run that is told to stop still has to stop its targets and close its evidence.
INTERRUPT_GRACE_S = 30.0
EXIT_CODES = (
    "0 PROMOTE, 1 HOLD (a gate failed), 2 HOLD (unknown or missing), 3 a spec is wrong, "
    "4 the harness broke"
)
# Each pinned file, and what it is made from.
LOCKS = {
    CONSTRAINTS: "pyproject.toml",
    "requirements/browser.txt": "requirements/browser.in",
    "requirements/polars.txt": "requirements/polars.in",
    "requirements/queues.txt": "requirements/queues.in",
    "requirements/schema.txt": "requirements/schema.in",
    "requirements/spark.txt": "requirements/spark.in",
    "requirements/tavern.txt": "requirements/tavern.in",
    "chaos/links/go-toolchain.txt": "requirements/go-toolchain.in",
}


def _pins() -> dict[str, str]:
    """Map each package of the constraints file to its requirement, `name==version`."""
    text = (ROOT / CONSTRAINTS).read_text(encoding="utf-8")
    return {
        found[1]: found[0] for found in re.finditer(r"^([a-z0-9-]+)==[^\s;]+", text, re.MULTILINE)
    }


def _direct(groups: Sequence[str]) -> list[str]:
    """Give the pinned requirements of the project and of some dependency groups.

    Transitive ones follow from the constraints file, where every package has its hashes.
    """
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    wanted = [*project["project"]["dependencies"]]
    for group in ("build", *groups):
        wanted += project["dependency-groups"][group]
    names = [re.split(r"[^A-Za-z0-9._-]", requirement)[0] for requirement in wanted]
    pins = _pins()
    return [pins[re.sub(r"[-_.]+", "-", name).lower()] for name in names]


def _digest(groups: Sequence[str]) -> str:
    """Digest all that decides what an environment contains."""
    inputs = [(ROOT / name).read_bytes() for name in ("pyproject.toml", *LOCKS)]
    return hashlib.sha256(b"\0".join([*inputs, *(group.encode() for group in groups)])).hexdigest()


def _is_current(session_name: str, groups: Sequence[str]) -> bool:
    """Whether an earlier run left an environment made from the same pins."""
    stamp = ROOT / ".nox" / session_name / STAMP
    return stamp.exists() and stamp.read_text() == _digest(groups)


def _install(session: nox.Session, groups: Sequence[str]) -> None:
    """Install pinned dependencies, every file checked by hash, then this project itself."""
    if sys.version_info < (3, 11):  # noqa: UP036 - nox may run on an older Python than the project
        session.error(f"Python 3.11 or newer is needed; nox runs on {sys.version.split()[0]}")
    stamp = Path(session.virtualenv.location, STAMP)
    if stamp.exists() and stamp.read_text() == _digest(groups):
        return
    # Compiled once: every start of a target would compile its libraries again where nothing is cached.
    compiled = {"UV_COMPILE_BYTECODE": "1"}
    session.install("--require-hashes", "-c", CONSTRAINTS, *_direct(groups), env=compiled)
    # The build back-end was installed above, by hash; isolation would fetch one unchecked.
    session.install("--no-deps", "--no-build-isolation", "-e", ".")
    # Written by an installing step, so that `nox -R`, which skips those, does not claim to have run.
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    session.run_install("python", "-c", write, str(stamp), _digest(groups), log=False)


def _session(*groups: str) -> Callable[[Callable[[nox.Session], None]], object]:
    """Make a session of a function, its environment kept until the pins change."""

    def decorate(action: Callable[[nox.Session], None]) -> object:
        @functools.wraps(action)
        def provisioned(session: nox.Session) -> None:
            _install(session, groups)
            action(session)

        current = _is_current(action.__name__, groups)
        return nox.session(provisioned, name=action.__name__, reuse_venv=current)

    return decorate


def _provide_toxiproxy(session: nox.Session) -> None:
    """Find or build the Toxiproxy server before anything waits for it."""
    session.run("python", "-m", "chaos.links.toxiproxy_binary", silent=True, stderr=None)


def _run_gates(session: nox.Session, *arguments: str) -> None:
    """Run gates, and say what the exit code means, since nox itself only knows 0 and 1."""
    _provide_toxiproxy(session)
    try:
        session.run(
            "python",
            "-m",
            "gates",
            "run",
            *arguments,
            interrupt_timeout=INTERRUPT_GRACE_S,
            terminate_timeout=INTERRUPT_GRACE_S,
        )
    except CommandFailed as failure:
        session.error(f"python -m gates run: {failure.reason} ({EXIT_CODES})")


@_session("shims")
def gates(session: nox.Session) -> None:
    """Run the gates, write the report, print the verdict. `-- C4 key-rotation` runs a few.

    `-- --ledger FILE` counts what failed on other machines, too; without it a release rests on this machine's attempts.
    """
    _run_gates(session, *session.posargs)


def _gates_command(session: nox.Session, *arguments: str) -> None:
    """Run another command that runs gates."""
    _provide_toxiproxy(session)
    session.run(
        "python",
        "-m",
        "gates",
        *arguments,
        interrupt_timeout=INTERRUPT_GRACE_S,
        terminate_timeout=INTERRUPT_GRACE_S,
    )


@_session("shims")
def prove(session: nox.Session) -> None:
    """Show that every gate can fail: try its defects and shams, but for what is kept. `-- A3` for one gate."""
    _gates_command(session, "prove", *session.posargs)


@_session("shims", "test", "mutants")
def mutants(session: nox.Session) -> None:
    """Count which small changes of SONIA its gates notice. `-- A3` for one gate, `-- --tests` asks the tests."""
    _gates_command(session, "mutants", *session.posargs)


@_session("shims")
def release(session: nox.Session) -> None:
    """Run all gates, make the proofs that are missing, and verify what comes of it. `-- --key FILE` signs.

    `-- --ledger FILE` names a ledger of attempts that outlives this machine, and is what the release must rest on.
    """
    version = re.search(r"(?m)^release: *(\S+)", (ROOT / "specs" / "release.yaml").read_text())
    assert version is not None
    try:
        _run_gates(session, "--prove", *session.posargs)
    finally:
        given = session.posargs
        outside = given[given.index("--ledger") :][:2] if "--ledger" in given else []
        session.run("python", "-m", "gates", "verify", f"releases/{version[1]}", *outside)


@_session("shims")
def baseline(session: nox.Session) -> None:
    """Run all gates against the system as it was before this release."""
    _gates_command(session, "baseline", *session.posargs)


@_session("shims", "test", "mutants")
def tests(session: nox.Session) -> None:
    """Run the tests, and print the slowest. What follows `--` goes to pytest."""
    _provide_toxiproxy(session)
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    # A quarter of the time they wait for processes: three workers keep two cores busy. Each takes a third as it
    # stands, so that what a module sets up is set up once, and who is done first takes over from the others.
    workers = ("-n", "3", "--dist", "worksteal")
    slowest = ("--durations=20", "--durations-min=1")
    session.run("pytest", *workers, *slowest, *session.posargs, env=environment)


@_session("shims", "test")
def fuzz(session: nox.Session) -> None:
    """Hand specs, evidence and releases to the harness that nobody would write. `-- --seconds 3600` for an hour (60 s)."""
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@_session("shims", "test")
def crash(session: nox.Session) -> None:
    """Lose power at every sync, fail the disk, cut migrations short, kill the gateway 500 times: nothing acknowledged is lost. `-- --seed N` repeats one."""
    session.run("python", "-m", "tests.crash", *session.posargs)


@_session("shims", "test", "lint")
def lint(session: nox.Session) -> None:
    """Check style, formatting, types, who imports whom, and every spec."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "--strict")
    session.run("lint-imports", "--no-logo")
    session.run("python", "-m", "gates", "lint")


@_session()
def serve(session: nox.Session) -> None:
    """Start SONIA for a first try, its state in .sonia/, and print three curl lines."""
    state, kept = ROOT / ".sonia" / "state", ROOT / ".sonia" / "tokens.json"
    if not kept.exists():
        init = ("sonia", "init", "--state", str(state), "--json")
        made = json.loads(str(session.run(*init, silent=True, stderr=None)))
        # The tokens are shown once only. They are kept here, readable by their owner alone, so
        # that the same lines work the next time.
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({role: made[role] for role in ("operator", "observer")}, file)
    token = json.loads(kept.read_text(encoding="utf-8"))
    url = f"http://127.0.0.1:{os.environ.get('SONIA_GATEWAY_PORT', '7000')}"
    print(
        "\nOnce it is ready, in another terminal:\n\n"
        f"  curl {url}/readyz\n"
        f"  curl -H 'Authorization: Bearer {token['observer']}' {url}/v1/routes\n"
        f"  curl -H 'Authorization: Bearer {token['operator']}'"
        " -H 'Content-Type: application/json'"
        f' -d \'{{"text": "hello"}}\' {url}/v1/turn\n\n'
        "Ctrl-C stops it.\n",
        flush=True,
    )
    try:
        session.run(
            "sonia",
            "up",
            "--state",
            str(state),
            *session.posargs,
            interrupt_timeout=INTERRUPT_GRACE_S,
        )
    except KeyboardInterrupt:
        session.log("stopped")


def _provide_apart(session: nox.Session, name: str, command: str) -> str:
    """Install `requirements/NAME.txt`, of which `command` comes, away from what is ours. Returns its interpreter."""
    home = Path(session.virtualenv.location, name)
    if not (home / "bin" / command).exists():
        session.run_install("python", "-m", "venv", "--clear", "--without-pip", str(home))
        _install_into(session, home, f"requirements/{name}.txt")
    return str(home / "bin" / "python")


def _install_into(session: nox.Session, home: Path, requirements: str) -> None:
    """Install pinned `requirements` into the environment below `home`, which has no pip of its own."""
    python = str(home / "bin" / "python")
    pip = ("python", "-m", "pip", "--python", python, "install")
    uv = ("uv", "pip", "install", "--python", python)
    command = uv if session.venv_backend == "uv" else pip
    session.run_install(*command, "--require-hashes", "-r", requirements)


@_session("shims")
def bench(session: nox.Session) -> None:
    """Measure the harness and the service against peers, as ratios, into bench/results.json."""
    _provide_toxiproxy(session)
    session.install("--require-hashes", "-r", "requirements/polars.txt")
    environment = {
        # Tavern wants an older pytest than ours.
        "BENCH_TAVERN_PYTHON": _provide_apart(session, "tavern", "tavern-ci"),
        "BENCH_QUEUES_PYTHON": _provide_apart(session, "queues", "dbos"),
    }
    session.run("python", "-m", "bench", *session.posargs, env=environment)


@_session("test")
def browser(session: nox.Session) -> None:
    """Open the report's page in the system's Chromium and read it. What follows `--` goes to pytest."""
    session.install("--require-hashes", "-r", "requirements/browser.txt")
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    session.run("pytest", "-n", "2", "tests/browser", *session.posargs, env=environment)


@_session("shims", "test")
def schema(session: nox.Session) -> None:
    """Ask SONIA, as each role, for what its OpenAPI document lets expect. `-- --examples 100` asks for more (10)."""
    python = _provide_apart(session, "schema", "schemathesis")
    schemathesis = str(Path(python).with_name("schemathesis"))
    session.run("python", "-m", "tests.schema", schemathesis, *session.posargs)


@_session("test")
def spark(session: nox.Session) -> None:
    """Ask Spark and DuckDB the same questions about incidents: they agree to the row. Needs Java."""
    session.install("--require-hashes", "-r", "requirements/spark.txt")
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    session.run("pytest", "tests/gates/incidents/test_spark.py", *session.posargs, env=environment)


@_session("shims", "example")
def example(session: nox.Session) -> None:
    """Gate a server that this project did not write, by YAML alone: specs/examples."""
    _run_gates(session, "--specs", "specs/examples", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Pin all dependencies again, with hashes. `-- --upgrade` moves them to newer versions."""
    session.install("--require-hashes", "-c", CONSTRAINTS, _pins()["uv"])
    groups = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
    for target, source in LOCKS.items():
        of_groups = [f"--group={group}" for group in groups] if target == CONSTRAINTS else []
        session.run(
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version=3.11",
            "--generate-hashes",
            "--no-emit-index-url",
            "--no-annotate",
            "--no-header",
            *session.posargs,
            *of_groups,
            source,
            f"--output-file={target}",
            silent=True,
        )
