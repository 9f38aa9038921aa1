"""The JSON Schemas that are shipped say what the loader says."""

import json
from functools import lru_cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from chaos.errors import SpecError
from chaos.spec import yaml12
from chaos.spec.loader import load
from chaos.spec.step import Step
from chaos.steps import BY_NAME
from gates.spec.project import CHOOSERS
from gates.spec.schemas import SPECS, schema_of, stale, structs_below, write_schemas

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "specs" / "schema"
FILES = sorted([*(ROOT / "specs").rglob("*.yaml"), *(ROOT / "tests" / "targets").glob("*.yaml")])
MARK = "# yaml-language-server: $schema="

GATE = """
gate: some
id: X1
class: delta
title: t
why: w
target: sonia
control: [{request: {get: /}}]
scenario: [%s]
assert: [{that: a, from: requests, at_least: 1, none: status = 5}]
"""


@lru_cache
def validator(name: str) -> Draft202012Validator:
    # As an editor finds them: all lie beside each other.
    resources = {
        f"{each}.schema.json": Resource.from_contents(schema_of(each)) for each in ("step", name)
    }
    return Draft202012Validator(
        {"$ref": f"{name}.schema.json"}, registry=Registry().with_resources(resources.items())
    )


def test_the_shipped_schemas_are_those_of_the_structs() -> None:
    assert stale(SHIPPED) == [], "run `python -m gates schema`"


def test_writing_touches_only_what_is_out_of_date(tmp_path: Path) -> None:
    assert len(write_schemas(tmp_path)) == len(SPECS)
    assert write_schemas(tmp_path) == []
    (tmp_path / "gate.schema.json").write_text("{}")
    assert [path.name for path in stale(tmp_path)] == ["gate.schema.json"]
    assert [path.name for path in write_schemas(tmp_path)] == ["gate.schema.json"]


@pytest.mark.parametrize("name", SPECS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema_of(name))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_spec_names_its_schema_and_is_valid_by_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith(MARK)
    schema = (path.parent / first.removeprefix(MARK)).resolve()
    assert schema.parent == SHIPPED
    problems = validator(schema.name.partition(".")[0]).iter_errors(yaml12.load(text))
    assert [f"{problem.json_path}: {problem.message}" for problem in problems] == []


STEPS = [
    "{request: {get: /}}",
    "{request: {get: /}, as: {bearer: x, label: y}}",
    "{request: {get: /}, as: operator, within: 2s, expect: {status: 200, json: [1]}}",
    "{repeat: 3, steps: [{pause: 1ms}]}",
    "{repeat: {a: [1]}, steps: [{parallel: [[{pause: 1ms}], []]}]}",
    "{load: x, rate: 5/s, for: 1s, send: {get: /}}",
    "{load: x, rate: [{rate: 5/s, for: 1s}], send: [{get: /}]}",
    "{cut: a->b, for: 1s, name: x}",
    "{use: x, with: {a: 1}}",
    "{start: x, clock_offset: -1h}",
]
NO_STEPS = [
    "{}",
    "{request: {get: /}, pause: 1ms}",
    "{requests: {get: /}}",
    "{request: {get: 5}}",
    "{request: {get: /}, as: 5}",
    "{request: {get: /}, as: {bearer: x}}",
    "{request: {get: /}, within: 2}",
    "{request: {get: /}, within: -2s}",
    "{request: {get: /}, expect: {status: [200]}}",
    "{request: {get: /}, colour: red}",
    "{repeat: x, steps: []}",
    "{repeat: 3}",
    "{cut: a->b, stream: sideways}",
    "{parallel: [{pause: 1ms}]}",
]


@pytest.mark.parametrize(
    ("step", "good"), [*((s, True) for s in STEPS), *((s, False) for s in NO_STEPS)]
)
def test_schema_and_loader_agree_on_a_step(tmp_path: Path, step: str, good: bool) -> None:
    text = GATE % step
    path = tmp_path / "some.yaml"
    path.write_text(text)
    assert validator("gate").is_valid(yaml12.load(text)) == good
    try:
        load(path, SPECS["gate"], CHOOSERS)
    except SpecError:
        assert not good
    else:
        assert good


def test_names_of_structs_are_unique_since_they_name_definitions() -> None:
    for root in SPECS.values():
        structs = {
            below
            for one in (root, *(k.spec for k in BY_NAME.values()))
            for below in structs_below(one)
        }
        assert len({struct.__name__ for struct in structs}) == len(structs)


def test_a_step_is_any_one_of_the_kinds() -> None:
    schema = schema_of("step")
    definitions, kinds = schema["$defs"], schema["oneOf"]
    assert isinstance(definitions, dict)
    assert isinstance(kinds, list)
    assert len(kinds) == len(BY_NAME)
    for kind in BY_NAME.values():
        assert kind.name in definitions[kind.spec.__name__]["required"]


@pytest.mark.parametrize("name", ["gate", "target", "scenario", "step"])
def test_steps_stand_in_one_schema(name: str) -> None:
    schema = schema_of(name)
    assert '{"$ref": "step.schema.json"}' in json.dumps(schema)
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    steps = {Step.__name__, *(kind.spec.__name__ for kind in BY_NAME.values())}
    assert (definitions.keys() & steps == set()) == (name != "step")
