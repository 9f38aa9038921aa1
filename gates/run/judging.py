"""Judges one run as soon as it has ended: what makes a pytest item pass or fail, and a trial show something.

Its JSON lines fill tables as sealing fills those of a release, and the judge is the same. The report takes no verdict from
here; its own come from the sealed evidence.
"""

from collections.abc import Sequence
from pathlib import Path

from chaos.evidence.sealing import Collected, Loader
from chaos.faults import SIGNATURES
from gates.judge.connection import open_blank
from gates.judge.result import GateVerdict
from gates.judge.verdict import judge_gate
from gates.spec.assertion import Judged


class RunJudge:
    """Judges all runs of a worker, below these directories, in one database."""

    def __init__(self, directories: Sequence[Path], collected: Collected) -> None:
        self._evidence = open_blank(collected, directories)
        self._loader = Loader(self._evidence.connection, collected)

    def judge(
        self, run: Path, exercise: Path, judged: Judged, run_id: str | None = None
    ) -> GateVerdict:
        """The verdict on the run in this directory; of faults also by the exercise of its target's links.

        Without a `run_id` the run must be healthy.
        """
        self._loader.load([run, *([exercise] if judged.faults and exercise.is_dir() else [])])
        self._evidence.refresh()
        return judge_gate(self._evidence, judged, SIGNATURES, run_id)

    def close(self) -> None:
        """End the database and its threads: beside them an interpreter that winds down may be aborted."""
        self._evidence.connection.close()
