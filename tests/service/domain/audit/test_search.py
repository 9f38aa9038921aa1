"""Events are looked for step by step, however many rows of the log are about none."""

import apsw
import pytest

from service.audit.chain import AuditEntry
from service.domain.audit.routes import STEP_ROWS, Search

ROWS = 2 * STEP_ROWS + 100
COLUMNS = ", ".join(AuditEntry.__struct_fields__)


@pytest.fixture(scope="module")
def log() -> apsw.Connection:
    """A log in which the first row and the last two are about effects."""
    connection = apsw.Connection(":memory:")
    connection.execute(
        f"CREATE TABLE audit ({COLUMNS.replace('seq', 'seq INTEGER PRIMARY KEY', 1)})"
    )
    values = [
        (
            seq,
            1,
            "r",
            "a",
            "operator",
            "x",
            "",
            "",
            "",
            "allowed",
            table,
            table and str(seq),
            "{}",
            "",
            "",
        )
        for seq in range(1, ROWS + 1)
        for table in ["tasks" if seq in {1, ROWS - 1, ROWS} else None]
    ]
    with connection:
        connection.executemany(f"INSERT INTO audit VALUES ({', '.join('?' * 15)})", values)
    return connection


@pytest.mark.parametrize(
    ("after", "limit", "steps", "found"),
    [
        (0, 1, [True], [1]),
        (0, 2, [False, False, True], [1, ROWS - 1]),
        (0, 200, [False, False, True], [1, ROWS - 1, ROWS]),
        (1, 1, [False, False, True], [ROWS - 1]),
        (ROWS - 1, 5, [True], [ROWS]),
        (ROWS, 5, [True], []),
        (10**18, 5, [True], []),
    ],
)
def test_a_step_looks_through_a_bounded_part(
    log: apsw.Connection, after: int, limit: int, steps: list[bool], found: list[int]
) -> None:
    search = Search(after, limit)
    assert [search.step(log) for _ in steps] == steps
    assert [each.seq for each in search.events] == found


def test_the_rest_is_looked_through_at_one_go(log: apsw.Connection) -> None:
    search = Search(1, 200)
    search.finish(log)
    assert [each.id for each in search.events] == [str(ROWS - 1), str(ROWS)]
