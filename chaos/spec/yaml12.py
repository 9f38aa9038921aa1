"""YAML by the core schema of YAML 1.2.

`OFF`, `no`, `1:30` and dates are texts, `017` is seventeen and `0o17` fifteen. Only what the core schema
knows can be written: no tags of one's own, no binary data, no merge keys.
"""

import re
from collections.abc import Mapping
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos import bounds

_TAG: Final = "tag:yaml.org,2002:"
MAPPING: Final = f"{_TAG}map"
SEQUENCE: Final = f"{_TAG}seq"
_SCALARS: Final = (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
_INT_BITS: Final = 63
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


# libyaml's parser: five times faster than PyYAML's own, and the only one, as they do not read everything alike.
if not yaml.__with_libyaml__:
    raise ImportError(
        "this PyYAML was built without libyaml, which reads the specs; install its wheel"
    )


class CoreLoader(yaml.CSafeLoader):
    """Resolves scalars by the core schema; `scalar` gives their values. Nests at most a thousand deep."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _BothDumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


for _name, _pattern, _first in _SCALARS:
    for _class in (CoreLoader, _BothDumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)


def compose(text: str) -> Node | None:
    """The node tree of one document, None of an empty one. Raises yaml.YAMLError, ValueError."""
    loader = CoreLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def scalar(node: ScalarNode) -> bool | int | float | str | None:
    """The value of a scalar. ValueError says why it has none."""
    text = node.value
    if not isinstance(text, str):
        raise ValueError("a scalar must be a text")
    kind = node.tag.removeprefix(_TAG)
    if kind == "str":
        return _text(text)
    for name, pattern, _ in _SCALARS:
        if kind == name:
            if re.fullmatch(pattern, text) is None:
                raise ValueError(f"{text!r} is not {'an' if name == 'int' else 'a'} {name}")
            return _value(name, text)
    raise ValueError(f"the tag {node.tag!r} is not one of YAML's core schema")


def _value(kind: str, text: str) -> bool | int | float | None:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        # Python spells infinity and NaN without the dot in front.
        special = re.search(r"inf|nan", text, re.IGNORECASE)
        return float(text.replace(".", "") if special else text)
    if len(text) > bounds.DIGITS:
        raise ValueError(f"a number of {len(text)} characters is longer than {bounds.DIGITS}")
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    number = int(text[2:] if base != 10 else text, base)
    if number.bit_length() > _INT_BITS:
        raise ValueError("a whole number must fit into 64 bits")
    return number


def _text(text: str) -> str:
    if _SURROGATE.search(text):
        raise ValueError("half of a surrogate pair is not a character")
    return text


def plain(node: Node) -> object:
    """The whole of a node as mappings, lists and scalars. ValueError says what it cannot hold."""
    if isinstance(node, MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.value]
    assert isinstance(node, ScalarNode)
    return scalar(node)


def load(text: str) -> object:
    """One document. Raises yaml.YAMLError or ValueError."""
    node = compose(text)
    return None if node is None else plain(node)


def dump(value: Mapping[str, object]) -> str:
    """A document that readers of YAML 1.1 and 1.2 understand alike."""
    return yaml.dump(value, Dumper=_BothDumper, sort_keys=False, allow_unicode=True)
