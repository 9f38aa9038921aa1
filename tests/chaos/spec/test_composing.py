"""A document is the same tree whether libyaml reads it or PyYAML alone."""

import itertools
import random
from pathlib import Path

import pytest
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos.spec import yaml12
from chaos.spec.yaml12 import CoreLoader, compose

SPECS = Path(__file__).parents[3] / "specs"
ODD = [
    "{get: /x?a=1}",
    "[a?b]",
    "a:\tb",
    "a: |#c",
    "a: !",
    "a: !!str 5",
    "a: &x b\nc: *x",
    "a: 'x\n y'",
    'a: "\\x41\\u00e9"',
    'a: "\\ud83d"',
    "%YAML 1.2\n---\na: b",
    "a: b\n---\nc: d",
    "a: b\r\nc: d",
    "a: \x07",
    "a: \u2028x",
    "\ufeffa: b",
    "",
    "# only",
    "a: [",
    "a: @x",
    "[b:]",
    "{a: 1, a: 2}",
    "a: >-\n  x\n\n  y",
    "a: 0o17\nb: 017",
    "- - - a",
    '"a":b',
    "a: 😀",
]
LETTERS = "[]{}?:,-#&*!|>'\"%@` \n\t\rabc1~.é"


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


def read(text: str) -> object:
    try:
        return shape(compose(text))
    except (yaml.YAMLError, ValueError) as error:
        return str(error)


def read_by_pyyaml(text: str) -> object:
    loader = CoreLoader(text)
    try:
        return shape(loader.get_single_node())
    finally:
        loader.dispose()


def pyyaml_says(text: str) -> object:
    try:
        return read_by_pyyaml(text)
    except (yaml.YAMLError, ValueError) as error:
        return str(error)


@pytest.mark.parametrize("text", ODD)
def test_odd_documents(text: str) -> None:
    assert read(text) == pyyaml_says(text)


def test_documents_of_this_project_and_mistakes_in_them() -> None:
    rng = random.Random(7)
    texts = [path.read_text(encoding="utf-8") for path in sorted(SPECS.rglob("*.yaml"))]
    for text in texts[:10]:
        assert read(text) == pyyaml_says(text)
    for base in itertools.islice(itertools.cycle([*texts, *ODD]), 600):
        start = rng.randrange(max(1, len(base) - 300))
        letters = list(base[start : start + 300])
        for _ in range(rng.randrange(1, 4)):
            letters.insert(rng.randrange(len(letters) + 1), rng.choice(LETTERS))
        text = "".join(letters)
        assert read(text) == pyyaml_says(text), text


def test_what_is_nested_deeper_than_any_stack_is_an_error_and_no_crash() -> None:
    with pytest.raises(RecursionError):
        compose("[" * 100_000)


def test_the_common_ones_are_read_fast() -> None:
    assert yaml12._is_common("gate: x\ncontrol:\n  - request: {get: /x}\n")
    assert not yaml12._is_common("a: b?")
