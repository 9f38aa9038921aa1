"""Spark and DuckDB agree to the row on every question. Skipped where pyspark or Java is not: `nox -s spark` has it."""

import shutil
from pathlib import Path

import pytest

from gates.incidents.analysis import Limits, analysing
from gates.incidents.bundle import open_bundle
from gates.incidents.packing import pack
from gates.incidents.questions import read_questions
from gates.incidents.tables import BASE

pytest.importorskip("pyspark", reason="pyspark is missing: `nox -s spark` has it")
if shutil.which("java") is None:
    pytest.skip("Java is missing, which Spark needs", allow_module_level=True)


def test_both_engines_agree_on_every_question(made: Path, tmp_path: Path) -> None:
    from gates.incidents.spark import asking

    pack(open_bundle(made / "two"), tmp_path / "packed", Limits())
    (tmp_path / "inputs.sql").write_text(
        "-- What was given?\nSELECT request_id, n, place, kind FROM inputs ORDER BY request_id, n, place"
    )
    questions = list(read_questions([tmp_path]).values())
    bundles = {"": [open_bundle(tmp_path / "packed")], BASE: [open_bundle(made / "one")]}
    with analysing(bundles, questions, Limits()) as analysis:
        ours = {question.name: analysis.ask(question) for question in questions}
    with asking(bundles, questions, 2) as spark:
        theirs = {question.name: spark.ask(question) for question in questions}
    assert len(questions) > 15
    for name, answer in ours.items():
        assert list(theirs[name].columns) == list(answer.columns), name
        assert theirs[name].rows == answer.rows, name
