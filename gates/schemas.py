"""JSON Schemas of all specs, generated from the Structs that read them."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.spec.step import Step
from chaos.spec.target import Target
from chaos.spec.units import Unit
from chaos.steps import BY_NAME
from gates.project import ScenarioFile
from gates.spec.gate import Gate
from gates.spec.release import Release

SPECS: Mapping[str, type[Struct]] = {
    "gate": Gate,
    "target": Target,
    "scenario": ScenarioFile,
    "release": Release,
}


def schema_of(name: str) -> dict[str, object]:
    """The schema of one sort of spec, a step being any one of the kinds."""
    kinds = [kind.spec for kind in BY_NAME.values()]
    _roots, components = msgspec.json.schema_components(
        [SPECS[name], *kinds], schema_hook=_unit_schema, ref_template="#/$defs/{name}"
    )
    components[Step.__name__] = {
        "description": "One step: exactly one kind, with its options.",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
    }
    root = components.pop(SPECS[name].__name__)
    used = _reachable(root, components)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"SONIA release harness: {name}",
        **root,
        "$defs": {key: components[key] for key in sorted(used)},
    }


def write_schemas(directory: Path) -> list[Path]:
    """Write every schema that is out of date; returns the files that were written."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = stale(directory)
    for path in changed:
        path.write_text(_text(path.name.partition(".")[0]))
    return changed


def stale(directory: Path) -> list[Path]:
    """Files that are missing or do not say what the Structs say."""
    paths = {name: directory / f"{name}.schema.json" for name in SPECS}
    return [
        path for name, path in paths.items() if not path.exists() or path.read_text() != _text(name)
    ]


def _text(name: str) -> str:
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


def _unit_schema(hint: type) -> dict[str, object]:
    if issubclass(hint, Unit):
        return {
            "type": "string",
            "pattern": hint.PATTERN,
            "description": f"For example {hint.EXAMPLE}",
        }
    raise NotImplementedError(hint)


def _reachable(root: object, components: Mapping[str, object]) -> set[str]:
    found: set[str] = set()
    queue = [root]
    while queue:
        for name in _references(queue.pop()):
            if name not in found:
                found.add(name)
                queue.append(components[name])
    return found


def _references(schema: object) -> set[str]:
    if isinstance(schema, Mapping):
        found = set().union(*(_references(value) for value in schema.values()))
        reference = schema.get("$ref")
        return found | ({reference.rpartition("/")[2]} if isinstance(reference, str) else set())
    if isinstance(schema, list):
        return set().union(*map(_references, schema))
    return set()
