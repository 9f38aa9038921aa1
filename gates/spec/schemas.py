"""JSON Schemas of all specs, generated from the Structs that read them.

They say what the loader says, for editors that complete and check while one types. The loader and `lint`
say more: what names exist, what can be proven, which SQL binds.
"""

import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.spec.step import Step
from chaos.spec.target import Target
from chaos.spec.units import Unit
from chaos.steps import BY_NAME, KINDS
from gates.mutants.equivalent import Equivalents
from gates.spec.gate import Gate
from gates.spec.release import Release
from gates.spec.scenario import ScenarioFile

Schema = dict[str, object]

SPECS: Mapping[str, type[Struct]] = {
    "gate": Gate,
    "target": Target,
    "scenario": ScenarioFile,
    "release": Release,
    "equivalent": Equivalents,
    # What the schemas of a gate, a target and a scenario refer to.
    "step": Step,
}
_STEP = "step.schema.json"

_ARGUMENT: Final = {
    "type": "string",
    "pattern": r"^\{[a-zA-Z_][a-zA-Z0-9_.-]*\}$",
    "description": "An argument, in the steps of a scenario file.",
}
_PLAIN: Final = ("integer", "number", "boolean")

_SCALARS: Final[Mapping[object, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
}


def schema_of(name: str) -> Schema:
    """The schema of one sort of spec, a step being exactly one of the kinds."""
    definitions: dict[str, Schema] = {}
    waiting = [SPECS[name]]
    while waiting:
        struct = waiting.pop()
        if struct.__name__ not in definitions:
            definitions[struct.__name__] = _struct_schema(struct)
            below = _kinds() if struct is Step else _structs_in(struct)
            # Steps stand in a file of their own.
            waiting += [each for each in below if each is not Step]
    if SPECS[name] is Step:
        definitions = {key: _with_arguments(each) for key, each in definitions.items()}
    root = definitions.pop(SPECS[name].__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"SONIA release harness: {name}",
        **root,
        "$defs": {key: definitions[key] for key in sorted(definitions)},
    }


def write_schemas(directory: Path) -> list[Path]:
    """Write every schema that is out of date; returns the files that were written."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = stale(directory)
    for path in changed:
        path.write_text(_text(path.name.partition(".")[0]), encoding="utf-8")
    return changed


def stale(directory: Path) -> list[Path]:
    """Files that are missing or do not say what the Structs say."""
    paths = {name: directory / f"{name}.schema.json" for name in SPECS}
    return [
        path
        for name, path in paths.items()
        if not path.exists() or regular.read(path).decode() != _text(name)
    ]


def documented_fields(struct: type[Struct]) -> list[str]:
    """The keys of a Struct that are written in YAML, in their order."""
    filled_in = KINDS[struct].filled_in if issubclass(struct, Step) and struct in KINDS else ()
    return [
        field.encode_name for field in msgspec.structs.fields(struct) if field.name not in filled_in
    ]


def structs_below(struct: type[Struct]) -> list[type[Struct]]:
    """A Struct and all that may stand inside of it, each once; a step stands for no kind."""
    found: list[type[Struct]] = []
    waiting = [struct]
    while waiting:
        one = waiting.pop(0)
        if one not in found:
            found.append(one)
            waiting += list(_structs_in(one))
    return found


def _text(name: str) -> str:
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


def _kinds() -> list[type[Step]]:
    return [kind.spec for kind in BY_NAME.values()]


def _struct_schema(struct: type[Struct]) -> Schema:
    if struct is Step:
        kinds = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in _kinds()]
        return {"description": "One step: exactly one kind, with its options.", "oneOf": kinds}
    hints = get_type_hints(struct)
    written = documented_fields(struct)
    fields = [field for field in msgspec.structs.fields(struct) if field.encode_name in written]
    required = [field.encode_name for field in fields if field.required]
    # Cheap keywords first: a validator that stops at the first error need not look inside.
    return {
        "type": "object",
        "description": " ".join((struct.__doc__ or "").split()),
        **({"required": required} if required else {}),
        "additionalProperties": False,
        "properties": {field.encode_name: _schema(hints[field.name]) for field in fields},
    }


def _with_arguments(schema: Schema) -> Schema:
    """The same schema, where an argument of a scenario may stand for each number, unit and choice."""
    if schema.keys() & {"enum", "pattern"} or schema.get("type") in _PLAIN:
        return {"anyOf": [schema, _ARGUMENT]}
    changed = dict(schema)
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            changed[key] = {name: _with_arguments(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            changed[key] = _with_arguments(value)
        elif key == "oneOf" and isinstance(value, list) and {"type": "string"} not in value:
            changed[key] = [_with_arguments(each) for each in value]
    return changed


def _schema(hint: object) -> Schema:
    """What a value of `hint` is written as; `null` is left out, since absent says the same."""
    if hint is object:
        return {}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if isinstance(hint, type) and issubclass(hint, Unit):
        words = f"For example {hint.EXAMPLE}."
        return {"type": "string", "pattern": hint.PATTERN, "description": words}
    if hint is Step:
        return {"$ref": _STEP}
    if isinstance(hint, type) and issubclass(hint, Struct):
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return _generic_schema(hint)


def _generic_schema(hint: object) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        options = [option for option in arguments if option is not type(None)]
        return (
            _schema(options[0]) if len(options) == 1 else {"oneOf": [_schema(o) for o in options]}
        )
    raise TypeError(f"no schema for {hint!r}")


def _structs_in(struct: type[Struct]) -> Iterator[type[Struct]]:
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        yield from _structs_of(hints[field.name])


def _structs_of(hint: object) -> Iterator[type[Struct]]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for argument in get_args(hint):
        yield from _structs_of(argument)
