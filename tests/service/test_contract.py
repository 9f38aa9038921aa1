"""The live API keeps the contract of v4.5, and the comparison notices every kind of break."""

import copy
from pathlib import Path
from typing import Any

import pytest

from service import SONIA_CONTRACT
from service.contract import (
    Contract,
    ContractUnreadable,
    Operation,
    breaking_changes,
    load_contract,
)
from service.gateway.app import HANDLERS, assemble
from service.http.routing import list_routes

CONTRACT = Path(__file__).parents[2] / "specs" / "contract" / f"{SONIA_CONTRACT}.json"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract(CONTRACT)


@pytest.fixture(scope="module")
def live() -> tuple[dict[str, Any], set[str]]:
    app = assemble(HANDLERS)
    return app.openapi_schema.to_schema(), {
        f"{each.method} {each.path}" for each in list_routes(app).items
    }


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def test_the_live_api_keeps_it(contract: Contract, live: tuple[dict[str, Any], set[str]]) -> None:
    assert contract.contract == SONIA_CONTRACT
    assert breaking_changes(contract, *live) == []


def test_what_a_query_may_say_and_what_counts_where_it_says_nothing(
    live: tuple[dict[str, Any], set[str]],
) -> None:
    """Every parameter of this name, whatever operation takes it; whoever asks for tokens without a word is given as many as may be."""
    said = {
        (each["name"], *(each["schema"].get(word) for word in ("default", "minimum", "maximum")))
        for operations in live[0]["paths"].values()
        for operation in operations.values()
        for each in operation.get("parameters", ())
        if each["in"] == "query"
    }
    assert said == {
        ("after", 0, 0, 10**18),
        ("cursor", None, None, None),
        ("limit", 50, 1, 200),
        ("limit", 200, 1, 200),
        ("max_tokens", 512, 0, 100_000),
        ("q", None, None, None),
    }


def drop_path(document: dict[str, Any]) -> None:
    del document["paths"]["/tasks"]


def drop_method(document: dict[str, Any]) -> None:
    del document["paths"]["/v1/sessions"]["post"]


def drop_status(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/tools/{name}/execute"]["post"]
    del operation["responses"]["202"]


def drop_answer_field(document: dict[str, Any]) -> None:
    del schema(document, "TurnAnswer")["properties"]["degraded"]


def drop_nested_answer_field(document: dict[str, Any]) -> None:
    del schema(document, "Memory")["properties"]["text"]


def widen_answer_field(document: dict[str, Any]) -> None:
    schema(document, "TurnAnswer")["properties"]["answer"] = {
        "oneOf": [{"type": "string"}, {"type": "null"}]
    }


def widen_answer_field_otherwise(document: dict[str, Any]) -> None:
    schema(document, "TurnAnswer")["properties"]["answer"] = {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }


def retype_answer_field(document: dict[str, Any]) -> None:
    schema(document, "Session")["properties"]["turn_count"] = {"type": "string"}


def untype_answer_field(document: dict[str, Any]) -> None:
    schema(document, "Session")["properties"]["turn_count"] = {}


def array_to_object(document: dict[str, Any]) -> None:
    schema(document, "TurnAnswer")["properties"]["memories"] = {"type": "object"}


def demand_a_field(document: dict[str, Any]) -> None:
    schema(document, "TurnRequest")["required"].append("session_id")


def demand_a_new_field(document: dict[str, Any]) -> None:
    turn = schema(document, "TurnRequest")
    turn["properties"]["language"] = {"type": "string"}
    turn["required"].append("language")


def ignore_a_field(document: dict[str, Any]) -> None:
    del schema(document, "NewTask")["properties"]["payload"]


def narrow_a_field(document: dict[str, Any]) -> None:
    schema(document, "NewSession")["properties"]["ttl_s"] = {"type": "integer"}


def narrow_a_choice(document: dict[str, Any]) -> None:
    schema(document, "ApproveRequest")["properties"]["decision"]["enum"] = ["approve"]


def drop_parameter(document: dict[str, Any]) -> None:
    document["paths"]["/v1/memory"]["get"]["parameters"] = [
        each
        for each in document["paths"]["/v1/memory"]["get"]["parameters"]
        if each["name"] != "max_tokens"
    ]


def demand_a_parameter(document: dict[str, Any]) -> None:
    document["paths"]["/v1/events"]["get"]["parameters"][0]["required"] = True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop_path, "GET /tasks: the operation is gone"),
        (drop_method, "POST /v1/sessions: the operation is gone"),
        (drop_status, "POST /v1/tools/{name}/execute: it never answers 202 any more"),
        (drop_answer_field, "POST /v1/turn: 200.degraded is gone"),
        (drop_nested_answer_field, "POST /v1/turn: 200.memories[].text is gone"),
        (widen_answer_field, "POST /v1/turn: 200.answer may be null now, not only string"),
        (
            widen_answer_field_otherwise,
            "POST /v1/turn: 200.answer may be null now, not only string",
        ),
        (
            retype_answer_field,
            "POST /v1/sessions: 201.turn_count may be string now, not only integer",
        ),
        (
            untype_answer_field,
            "POST /v1/sessions: 201.turn_count may be anything now, not only integer",
        ),
        (array_to_object, "POST /v1/turn: 200.memories is not always an array any more"),
        (demand_a_field, "POST /v1/turn: request.session_id is demanded now"),
        (demand_a_new_field, "POST /v1/turn: request.language is demanded now"),
        (ignore_a_field, "POST /tasks: request.payload is ignored now"),
        (narrow_a_field, "POST /v1/sessions: request.ttl_s does not accept number any more"),
        (narrow_a_choice, "POST /approve: request.decision does not accept =deny any more"),
        (drop_parameter, "GET /v1/memory: query.max_tokens is ignored now"),
        (demand_a_parameter, "GET /v1/events: query.after is demanded now"),
    ],
)
def test_every_kind_of_break_is_named(
    contract: Contract, live: tuple[dict[str, Any], set[str]], change: Any, told: str
) -> None:
    document = copy.deepcopy(live[0])
    change(document)
    assert told in breaking_changes(contract, document, live[1])


@pytest.mark.parametrize("missing", ["POST /v1/turn", "WEBSOCKET /v1/stream"])
def test_a_route_that_is_described_and_not_served_is_a_break(
    contract: Contract, live: tuple[dict[str, Any], set[str]], missing: str
) -> None:
    found = breaking_changes(contract, live[0], live[1] - {missing})
    assert [each.partition(":")[0] for each in found] == [missing]


def test_what_clients_need_not_notice_is_no_break(
    contract: Contract, live: tuple[dict[str, Any], set[str]]
) -> None:
    document = copy.deepcopy(live[0])
    schema(document, "TurnRequest")["properties"]["language"] = {"type": "string"}
    schema(document, "TurnAnswer")["properties"]["mood"] = {"type": "string"}
    schema(document, "NewSession")["properties"]["ttl_s"] = {}
    document["paths"]["/v1/sessions/{id}"] = document["paths"].pop("/v1/sessions/{session_id}")
    document["paths"]["/v1/new"] = {"post": {"responses": {}}}
    assert breaking_changes(contract, document, live[1]) == []


@pytest.mark.parametrize(
    ("answered", "broken"),
    [
        ({"enum": ["on"]}, False),
        ({"type": "string", "enum": ["on", "off"]}, False),
        ({"enum": ["on", "off", "odd"]}, True),
        ({"type": "string"}, True),
    ],
)
def test_an_answer_of_fixed_words_may_only_lose_some(
    answered: dict[str, Any], broken: bool
) -> None:
    fixed = Contract("v1", {"GET /x/{id}": Operation(responses={"200": {"state": "=on|=off"}})})
    state = {"schema": {"properties": {"state": answered}}}
    answers = {"200": {"content": {"application/json": state}}}
    live = {"paths": {"/x/{name}": {"get": {"responses": answers}}}}
    told = breaking_changes(fixed, live, {"GET /x/{other}"})
    assert [each.partition(" may be ")[0] for each in told] == ["GET /x/{id}: 200.state"] * broken


@pytest.mark.parametrize(
    "content", ["", "[]", '{"contract": "v1"}', '{"contract": "v1", "operations": {}, "x": 1}']
)
def test_what_is_no_contract_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ContractUnreadable):
        load_contract(tmp_path / "c.json")
    with pytest.raises(ContractUnreadable):
        load_contract(tmp_path / "missing.json")
