"""Judges one run as soon as it has ended, from its JSON lines: what makes a pytest item pass or fail.

The report never uses it; its verdicts come from the sealed evidence.
"""

from collections.abc import Sequence
from pathlib import Path

from chaos.evidence.sealing import Collected, Loader
from chaos.faults import CLEAN_AGAIN, PROOFS
from gates.judge.connection import open_blank
from gates.judge.faults import Proofs
from gates.judge.result import GateVerdict
from gates.judge.verdict import judge_gate
from gates.spec.assertion import Judged

FAULT_PROOFS = Proofs(on=PROOFS, clean_again=CLEAN_AGAIN)


class QuickJudge:
    """One database for all runs of a worker, below these directories."""

    def __init__(self, directories: Sequence[Path], collected: Collected) -> None:
        self._evidence = open_blank(collected, directories)
        self._loader = Loader(self._evidence.connection, collected)

    def judge(
        self, run: Path, exercise: Path, judged: Judged, run_id: str | None = None
    ) -> GateVerdict:
        """The verdict on the run in this directory, beside the exercise of its target's links.

        Without a `run_id` the run must be healthy.
        """
        self._loader.load([run, *([exercise] if exercise.is_dir() else [])])
        self._evidence.refresh()
        return judge_gate(self._evidence, judged, FAULT_PROOFS, run_id)

    def close(self) -> None:
        """End the database and its threads: beside them an interpreter that winds down may be aborted."""
        self._evidence.connection.close()
