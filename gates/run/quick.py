"""Judges one run as soon as it has ended, from its JSON lines: what makes a pytest item pass or fail.

The report never uses it; its verdicts come from the sealed evidence.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from chaos.evidence import schema
from chaos.evidence.direct import in_order, is_plain, source
from chaos.evidence.sealing import Collected, Loader, Rows
from chaos.faults import SIGNATURES
from gates.judge.connection import Evidence, RunKey, RunRecord, open_blank
from gates.judge.result import GateVerdict
from gates.judge.verdict import judge_gate
from gates.spec.assertion import Judged


class QuickJudge:
    """Judges all runs of a worker, below these directories."""

    def __init__(self, directories: Sequence[Path], collected: Collected) -> None:
        self._directories = directories
        self._collected = collected
        self._opened: list[Evidence] = []

    def judge(
        self, run: Path, exercise: Path, judged: Judged, run_id: str | None = None
    ) -> GateVerdict:
        """The verdict on the run in this directory, beside the exercise of its target's links.

        Without a `run_id` the run must be healthy.
        """
        files = self._plain.loader.read(run, keep=True)
        # Of a run that broke off, what its target collects may be missing.
        if is_plain(files) and not (judged.faults or judged.loads or judged.collected):
            self._plain.take(files)
            verdict = judge_gate(self._plain, judged, SIGNATURES, run_id)
            if verdict.status == "PASS":
                return verdict
        evidence, loader = self._any
        loader.load([run, *([exercise] if exercise.is_dir() else [])])
        evidence.refresh()
        return judge_gate(evidence, judged, SIGNATURES, run_id)

    def close(self) -> None:
        """End the databases and their threads: beside them an interpreter that winds down may be aborted."""
        for evidence in self._opened:
            evidence.connection.close()

    @cached_property
    def _plain(self) -> "_PlainRun":
        plain = _PlainRun(self._collected)
        self._opened.append(plain)
        return plain

    @cached_property
    def _any(self) -> tuple[Evidence, Loader]:
        evidence = open_blank(self._collected, self._directories)
        self._opened.append(evidence)
        return evidence, Loader(evidence.connection, self._collected)


class _PlainRun(Evidence):
    """The evidence of one plain run: small tables as they were read, others when a gate asks for them."""

    def __init__(self, collected: Collected) -> None:
        blank = open_blank(collected)
        super().__init__(blank.connection, blank.names, shipped=False)
        self.loader = Loader(self.connection, collected)
        self._files: Sequence[Rows] = ()

    def take(self, files: Sequence[Rows]) -> None:
        """Be the evidence of this run from now on."""
        self._files = files
        rows = {table: in_order(table, files) for table in schema.TABLES}
        (run,), ends = rows["runs"], rows["run_ends"]
        assert isinstance(run, schema.Run)
        end = ends[0] if ends else None
        assert end is None or isinstance(end, schema.RunEnd)
        seals: dict[RunKey, list[tuple[object, ...]]] = {}
        for file in sorted(files, key=lambda file: file.path.name):
            seals.setdefault((file.run_id, file.gate), []).append((file.path.name, file.problem))
        self.preset([RunRecord(run, end)], rows, {"seals": seals})

    def grouped(self, name: str, sql: str) -> dict[RunKey, list[tuple[object, ...]]]:
        """Only what was taken: tables that are judged all at once are not those of a plain run."""
        del sql
        return self._answers[name]

    def look(self, table: str, columns: Sequence[str], key: RunKey) -> str:
        """There is one run only, so its rows are looked at as they are."""
        del key
        return source(table, self._files, columns)
