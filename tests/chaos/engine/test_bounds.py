"""Whatever steps ask for, a run comes to an end, and what it keeps has a bound."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from chaos import bounds
from chaos.engine.files import select
from chaos.engine.time_limit import TimeLimit
from chaos.errors import HarnessError
from chaos.spec import matching, patterns
from chaos.spec.bounds import Bounds
from chaos.spec.units import Duration, Size
from tests.builders.gate_runs import plan, run, run_steps


def test_a_gate_ends_when_its_time_has_passed(tmp_path: Path) -> None:
    limit = Bounds(gate=Duration("200ms"))
    (evidence,) = run(plan(tmp_path, "scenario: [{pause: 1h}]\n", needs=[], bounds=limit))
    message = "the gate was not over within 0.2 s: `bounds` in release.yaml may allow more"
    assert evidence.end == ("broken", message)


def test_what_is_waited_for_to_be_alone_counts_for_nobody() -> None:
    whens: list[float | None] = []

    async def walked() -> None:
        limit = TimeLimit(60.0)

        @contextlib.asynccontextmanager
        async def alone() -> AsyncIterator[None]:
            whens.append(limit.ends_s)
            yield

        async with limit:
            whens.append(limit.ends_s)
            async with limit.left_out(alone)():
                whens.append(limit.ends_s)

    asyncio.run(walked())
    assert [when is None for when in whens] == [False, True, False]
    assert whens[2] == pytest.approx(whens[0], abs=30)


def test_of_an_endless_output_a_part_is_kept_and_the_rest_is_said(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - run: "{python} -c 'import sys; sys.stdout.write(1000 * chr(97)); sys.stdout.flush(); sys.stderr.write(50 * chr(98))'"
          - run: "yes"
            within: 300ms
        """,
        needs=[],
        bounds=Bounds(output=Size("100B")),
    )
    (row,) = evidence.rows("commands")
    assert row["exit"] == 0
    assert len(str(row["output"])) + len(str(row["errors"])) == 100
    first, second = map(str, evidence.details())
    assert first.endswith("wrote 950 bytes more than the 100 that are kept")
    # How much it writes until then depends on the machine.
    more = ", and wrote [0-9]+ bytes more than the 100 that are kept"
    assert re.fullmatch(f"`yes` did not end within 300ms({more})?", second)


def test_passes_of_all_repeats_are_counted_together(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {repeat: 3, steps: [{repeat: 2, steps: [{pause: 0ms}]}]}
        """,
        needs=[],
        bounds=Bounds(iterations=6),
    )
    assert evidence.details() == ["more than 6 passes of all `repeat` of a gate"] * 2


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|a)*b", "(.*)*(.*)*x"])
def test_an_expression_takes_time_in_proportion(expression: str) -> None:
    text = "a" * 100_000 + "!"
    assert list(matching.mismatches(f"/{expression}/", text))
    assert patterns.of_bytes(expression).fullmatch(text.encode()) is None


def test_an_expression_is_asked_of_any_text() -> None:
    assert patterns.found_in("a\ud800b", "b$")
    assert patterns.of_bytes("b$").search(b"a\xff\x00b") is not None


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
    ],
)
def test_a_query_without_end_is_an_error(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SQL_S", 0.1)
    monkeypatch.setattr(bounds, "ROWS", 1000)
    with pytest.raises(HarnessError, match=r"interrupted|more than 1000 rows"):
        select(apsw.Connection(":memory:"), query)
