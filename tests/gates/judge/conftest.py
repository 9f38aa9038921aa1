"""Evidence for judging, sealed from runs that tests write."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.evidence import sealing
from gates.judge import connection
from gates.judge.connection import Evidence
from gates.judge.result import AssertionResult
from gates.spec.assertion import Assertion
from tests.gates.judge.runs import Run, judged, verdict_of


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Run]:
    return lambda **names: Run(tmp_path / "runs", **names)


@pytest.fixture
def plain_run(new_run: Callable[..., Run]) -> Path:
    return new_run().plain().close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of one run, which is only read."""
    root = tmp_path_factory.mktemp("plain")
    sealing.seal([Run(root / "runs").plain().close()], root / "release", {})
    return root / "release"


@pytest.fixture(scope="module")
def locked(plain: Path) -> Evidence:
    """The same, opened."""
    return connection.open_release(plain, {})


@pytest.fixture
def shipped(tmp_path: Path) -> Callable[..., Evidence]:
    """Seals runs and opens the Parquet, as anybody does who has the release directory."""

    def open_sealed(*directories: Path, collected: sealing.Collected | None = None) -> Evidence:
        release = tmp_path / "release"
        sealing.seal(directories, release, collected or {})
        return connection.open_release(release, collected or {})

    return open_sealed


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, sealing.Loader]:
    """One connection for all runs of a session, as the verdict on a run that has just ended uses it."""
    evidence = connection.open_blank({}, [tmp_path_factory.getbasetemp()])
    return evidence, sealing.Loader(evidence.connection, {})


@pytest.fixture
def result_of(live: tuple[Evidence, sealing.Loader]) -> Callable[..., AssertionResult]:
    """The result of the first assertion of a gate on a run that has just ended."""
    evidence, loader = live

    def run(directory: Path, *asserts: Assertion, **changes: object) -> AssertionResult:
        loader.load([directory])
        evidence.refresh()
        return verdict_of(evidence, judged(*asserts, **changes)).assertions[0]

    return run
