"""Reads YAML into Structs and reports every error with its place, all in one pass.

The node tree of the document is walked beside the type hints of the Struct; the leaves are converted
by msgspec. YAML is read with the core schema of YAML 1.2: `OFF` and `no` are texts, there are no dates
and no base-60 numbers, and a duplicate key is an error.
"""

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos.errors import Problem, SpecError
from chaos.spec.units import Unit

S = TypeVar("S", bound=Struct)
Choose = Callable[[Iterable[str]], type[Struct] | str]
"""Picks the Struct of a mapping by its keys, or says why it cannot."""


class _CoreLoader(yaml.SafeLoader):
    """Scalars by the core schema of YAML 1.2."""

    yaml_implicit_resolvers: typing.ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _CoreLoader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


class Place(Struct, frozen=True):
    """Where a value stands in its file; lines and columns count from 1."""

    line: int
    column: int


class Document:
    """One YAML file: its text, its node tree and the places of all of its values."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.places: dict[tuple[str | int, ...], Place] = {}
        self.root = self._compose(text)
        if self.root is not None:
            self._remember(self.root, ())

    def _compose(self, text: str) -> Node | None:
        loader = None
        try:
            loader = _CoreLoader(text)
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._add(
                Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1), str(error.problem)
            )
            return None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._add(Place(1, 1), f"cannot be read as YAML: {error}")
            return None
        finally:
            if loader is not None:
                loader.dispose()
        if node is None:
            self._add(Place(1, 1), "the file is empty")
        return node

    def _remember(self, node: Node, path: tuple[str | int, ...]) -> None:
        if len(path) > 60:
            self._add(_place(node), "nested too deeply, or an alias contains itself")
            return
        self.places[path] = _place(node)
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if isinstance(key, ScalarNode):
                    self._remember(value, (*path, key.value))
        elif isinstance(node, SequenceNode):
            for index, value in enumerate(node.value):
                self._remember(value, (*path, index))

    def problem(
        self, path: tuple[str | int, ...], message: str, hint: str | None = None, *, column: int = 0
    ) -> None:
        """Add a problem at the value of `path`, or at the nearest one above it that exists."""
        while path and path not in self.places:
            path = path[:-1]
        place = self.places.get(path, Place(1, 1))
        self._add(Place(place.line, place.column + column), message, hint)

    def at(self, node: Node, message: str, hint: str | None = None) -> None:
        """Add a problem at a node."""
        self._add(_place(node), message, hint)

    def _add(self, place: Place, message: str, hint: str | None = None) -> None:
        source = self.lines[place.line - 1] if 0 < place.line <= len(self.lines) else ""
        self.problems.append(Problem(self.file, place.line, place.column, message, source, hint))

    def raise_problems(self) -> None:
        """SpecError when there is any problem."""
        if self.problems:
            raise SpecError(self.problems)


def load(path: Path, struct: type[S], choosers: Mapping[type, Choose]) -> tuple[S, Document]:
    """Read `path` as `struct`.

    `choosers` say for a base Struct which one a mapping is (a step by its kind). Raises SpecError with
    everything that is wrong; returns the value and the document for later complaints about places.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SpecError([Problem(str(path), 1, 1, f"cannot be read: {reason}")]) from error
    document = Document(str(path), text)
    document.raise_problems()
    assert document.root is not None
    value = _Walker(document, choosers).convert(document.root, struct)
    document.raise_problems()
    assert isinstance(value, struct)
    return value, document


def unit_hook(hint: type, value: object) -> object:
    """msgspec's dec_hook for units."""
    if issubclass(hint, Unit):
        return hint.of(value)
    raise NotImplementedError(hint)


class _Walker:
    def __init__(self, document: Document, choosers: Mapping[type, Choose]) -> None:
        self.document = document
        self.choosers = choosers
        self._loader = _CoreLoader("")

    def convert(self, node: Node, hint: object) -> object:
        """The node as a value of `hint`; a problem is noted and None returned where it is not one."""
        hint = self._alternative(node, hint)
        origin = get_origin(hint)
        if isinstance(hint, type) and issubclass(hint, Struct):
            return self._struct(node, hint)
        if origin is list:
            return self._list(node, get_args(hint)[0])
        if origin is dict:
            return self._dict(node, get_args(hint)[1])
        return self._leaf(node, hint)

    def _alternative(self, node: Node, hint: object) -> object:
        """The one of a union that a node of this sort can be."""
        if get_origin(hint) not in (Union, types.UnionType):
            return hint
        options = [option for option in get_args(hint) if option is not type(None)]
        if isinstance(node, ScalarNode) and node.tag.endswith(":null"):
            return type(None)
        sort = {MappingNode: _is_mapping, SequenceNode: _is_sequence, ScalarNode: _is_scalar}[
            type(node)
        ]
        fitting = [option for option in options if sort(option)]
        if len(fitting) == 1:
            return fitting[0]
        return Union[tuple(fitting)] if fitting else options[0]  # noqa: UP007 - built from values

    def _struct(self, node: Node, struct: type[Struct]) -> Struct | None:
        if not isinstance(node, MappingNode):
            self.document.at(node, f"expected {_describe(struct)}, got {_sort_of(node)}")
            return None
        before = len(self.document.problems)
        pairs = self._pairs(node)
        if struct in self.choosers:
            chosen = self.choosers[struct](pairs)
            if isinstance(chosen, str):
                self.document.at(node, chosen)
                return None
            struct = chosen
        hints = get_type_hints(struct)
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        values: dict[str, object] = {}
        for key, (key_node, value_node) in pairs.items():
            if key not in fields:
                self.document.at(
                    key_node, f"unknown key {key!r} in {_describe(struct)}", closest(key, fields)
                )
            else:
                values[fields[key].name] = self.convert(value_node, hints[fields[key].name])
        for field in fields.values():
            if field.required and field.name not in values:
                self.document.at(node, f"{_describe(struct)} needs {field.encode_name!r}")
        if len(self.document.problems) > before:
            return None
        return struct(**values)

    def _pairs(self, node: MappingNode) -> dict[str, tuple[Node, Node]]:
        pairs: dict[str, tuple[Node, Node]] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.document.at(key_node, "a key must be a text")
            elif key_node.value in pairs:
                self.document.at(key_node, f"duplicate key {key_node.value!r}")
            else:
                pairs[key_node.value] = (key_node, value_node)
        return pairs

    def _list(self, node: Node, item: object) -> list[object] | None:
        if not isinstance(node, SequenceNode):
            self.document.at(node, f"expected a list, got {_sort_of(node)}")
            return None
        return [self.convert(child, item) for child in node.value]

    def _dict(self, node: Node, value: object) -> dict[str, object] | None:
        if not isinstance(node, MappingNode):
            self.document.at(node, f"expected a mapping, got {_sort_of(node)}")
            return None
        return {key: self.convert(child, value) for key, (_, child) in self._pairs(node).items()}

    def _leaf(self, node: Node, hint: object) -> object:
        if hint is object:
            return self._plain(node)
        try:
            return msgspec.convert(self._plain(node), hint, dec_hook=unit_hook)
        except (msgspec.ValidationError, ValueError) as error:
            self.document.at(node, _leaf_message(str(error)))
            return None

    def _plain(self, node: Node) -> object:
        if isinstance(node, MappingNode):
            return {key: self._plain(child) for key, (_, child) in self._pairs(node).items()}
        if isinstance(node, SequenceNode):
            return [self._plain(child) for child in node.value]
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self.document.at(node, f"cannot be read: {error}")
            return None


def _leaf_message(message: str) -> str:
    return re.sub(r"^Expected", "expected", message).replace(" - at `$`", "").replace("`", "'")


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _is_mapping(option: object) -> bool:
    return (
        get_origin(option) is dict
        or option is object
        or (isinstance(option, type) and issubclass(option, Struct))
    )


def _is_sequence(option: object) -> bool:
    return get_origin(option) is list or option is object


def _is_scalar(option: object) -> bool:
    return (not _is_mapping(option) and not _is_sequence(option)) or option is object


def _sort_of(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else repr(node.value)


def _describe(struct: type[Struct]) -> str:
    """`Gate` is "a gate", `Assertion` "an assertion"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", struct.__name__).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def closest(name: str, known: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None
