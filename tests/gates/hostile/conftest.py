"""The releases and runs of the other tests, for those who would like them to say something else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.evidence import sealing
from gates.judge import connection
from gates.judge.connection import Evidence
from tests.gates.judge.conftest import live, new_run, plain_run, result_of
from tests.gates.judge.runs import Run

__all__ = ["live", "new_run", "plain_run", "result_of"]


@pytest.fixture
def sealed(tmp_path: Path, live: tuple[Evidence, sealing.Loader]) -> Callable[..., Evidence]:
    """What sealing makes of runs: as Parquet where somebody is let at it, as loaded by the same SQL elsewhere."""

    def seal(*directories: Path, spoil: Callable[[Path], None] | None = None) -> Evidence:
        if spoil is None:
            evidence, loader = live
            loader.load(sorted(directories, key=lambda directory: directory.name))
            evidence.refresh()
            return evidence
        release = tmp_path / "sealed"
        sealing.seal(directories, release, {})
        spoil(release)
        return connection.open_release(release, {})

    return seal


@pytest.fixture
def begun(new_run: Callable[..., Run]) -> Run:
    """A run that has gone well so far, and is not closed."""
    return new_run().plain()
