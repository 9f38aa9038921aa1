"""Reading YAML as its 1.2 core schema says: `off` is a string, a key stands once."""

import math
import re
from typing import Final

import yaml

from service.jsontypes import Json

MOST_DEEP: Final = 50


class DuplicateKey(yaml.YAMLError):
    """The same key twice in one mapping."""


class CoreLoader(yaml.SafeLoader):
    """SafeLoader with the core schema's scalars and no duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def fetch_flow_collection_start(self, kind: type[yaml.Token]) -> None:
        """Begin a list or a mapping in brackets, if there are not too many around it."""
        self._bound_depth(self.flow_level + len(self.indents))
        super().fetch_flow_collection_start(kind)

    def add_indent(self, column: int) -> bool:
        """Begin a list or a mapping by its indentation, if there are not too many around it."""
        self._bound_depth(len(self.indents))
        return super().add_indent(column)

    def _bound_depth(self, depth: int) -> None:
        """Of brackets inside of brackets reading takes the square of their number."""
        if depth > MOST_DEEP:
            raise yaml.YAMLError(f"line {self.line + 1}: nested more than {MOST_DEEP} deep")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Build a mapping, refusing a key that stands twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: a key must be a text")
            if key.value in seen:
                raise DuplicateKey(
                    f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
):
    CoreLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


def _core_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """In the core schema `017` is seventeen; PyYAML alone would read it as octal."""
    return int(loader.construct_scalar(node))


def _core_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    """A number that is too large for one would be infinite, and no bound would be left."""
    number = float(loader.construct_scalar(node))
    if not math.isfinite(number):
        raise ValueError(f"line {node.start_mark.line + 1}: {node.value} is no number")
    return number


CoreLoader.add_constructor("tag:yaml.org,2002:int", _core_int)
CoreLoader.add_constructor("tag:yaml.org,2002:float", _core_float)


def load(text: str) -> Json:
    """Parse one YAML document. Raises ValueError with a line."""
    try:
        loaded: Json = yaml.load(text, CoreLoader)  # noqa: S506 - CoreLoader is a SafeLoader
    except yaml.YAMLError as wrong:
        raise ValueError(str(wrong)) from wrong
    except RecursionError as wrong:
        raise ValueError("nested too deep") from wrong
    return loaded
