"""The routes that gates pin hold everything that the public contract promises."""

from pathlib import Path

import msgspec
import pytest

from chaos.spec.loader import load
from gates.spec.gate import Gate
from gates.spec.project import CHOOSERS

ROOT = Path(__file__).resolve().parents[2]
GATES = ROOT / "specs" / "gates" / "delta" / "a"
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "WEBSOCKET")


class PinnedContract(msgspec.Struct):
    """The part of the contract that names operations: "METHOD /path", and paths of WebSockets."""

    operations: dict[str, msgspec.Raw]
    websockets: list[str]


@pytest.fixture(scope="module")
def contract() -> set[tuple[str, str]]:
    """(method, path) of every operation of the contract."""
    text = (ROOT / "specs" / "contract" / "v4.5.0.json").read_bytes()
    pinned = msgspec.json.decode(text, type=PinnedContract)
    http = {(method, path) for method, path in (key.split(" ") for key in pinned.operations)}
    return http | {("WEBSOCKET", path) for path in pinned.websockets}


def table(gate: str, name: str) -> list[dict[str, object]]:
    value, _ = load(GATES / f"{gate}.yaml", Gate, CHOOSERS)
    return value.data[name]


def path_of(row: dict[str, object]) -> str:
    return str(row["path"]).replace(":str}", "}")


def test_anonymous_callers_are_tried_on_all_of_the_contract_that_changes_something(
    contract: set[tuple[str, str]],
) -> None:
    rows = table("auth-required-mutating", "promised")

    mutating = {(method, path) for method, path in contract if method != "GET"}
    assert {(str(row["method"]), path_of(row)) for row in rows} == mutating
    assert len(rows) == len(mutating)


def test_the_matrix_of_roles_has_every_operation_of_the_contract(
    contract: set[tuple[str, str]],
) -> None:
    matrix = {
        (verb, path_of(row))
        for row in table("role-enforcement", "matrix")
        for verb in VERBS
        if verb in row
    }

    assert contract <= matrix


def test_the_matrix_of_roles_gives_no_change_to_less_than_an_operator() -> None:
    changing = [verb for verb in VERBS if verb != "GET"]

    roles = [
        row[verb] for row in table("role-enforcement", "matrix") for verb in changing if verb in row
    ]

    assert set(roles) == {"operator"}
    assert len(roles) >= 15


def test_the_diagnostics_that_stay_open_are_the_public_rows_of_the_matrix() -> None:
    public = {
        path_of(row) for row in table("role-enforcement", "matrix") if row.get("GET") == "public"
    }

    assert {path_of(row) for row in table("auth-required-mutating", "diagnostics")} == public
