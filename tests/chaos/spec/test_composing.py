"""A document is the tree that PyYAML reads from it, too, by the same rules for scalars."""

from pathlib import Path

import pytest
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos.spec import yaml12

SPECS = Path(__file__).parents[3] / "specs"
ODD = [
    "a: !!str 5",
    "a: &x b\nc: *x",
    "a: 'x\n y'",
    'a: "\\x41\\u00e9"',
    "a: b\r\nc: d",
    "\ufeffa: b",
    "",
    "# only",
    "{a: 1, a: 2}",
    "a: >-\n  x\n\n  y",
    "a: 0o17\nb: 017",
    "- - - a",
    "a: 😀",
]


class PythonLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = yaml12.CoreLoader.yaml_implicit_resolvers


def shape(node: Node | None) -> object:
    """Tags, values and places. Where nothing is written, the place is a matter of taste."""
    if node is None:
        return None
    place = (node.start_mark.line, node.start_mark.column)
    if isinstance(node, MappingNode):
        return node.tag, place, [(shape(key), shape(value)) for key, value in node.value]
    if isinstance(node, SequenceNode):
        return node.tag, place, [shape(item) for item in node.value]
    assert isinstance(node, ScalarNode)
    return node.tag, place if node.value else None, node.value


def read_by_python(text: str) -> object:
    loader = PythonLoader(text)
    try:
        return shape(loader.get_single_node())
    finally:
        loader.dispose()


@pytest.mark.parametrize("text", ODD)
def test_odd_documents(text: str) -> None:
    assert shape(yaml12.compose(text)) == read_by_python(text)


def test_all_documents_of_this_project() -> None:
    for path in sorted(SPECS.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert shape(yaml12.compose(text)) == read_by_python(text), path


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? "])
def test_what_is_nested_deeper_than_any_stack_is_an_error_and_no_crash(opening: str) -> None:
    with pytest.raises(yaml.YAMLError, match="maximum nesting depth"):
        yaml12.compose(opening * 100_000)
