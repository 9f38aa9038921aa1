"""One YAML file with the places of all of its values, and what is wrong with them."""

import copy
import re
from collections.abc import Iterator
from typing import Self

import yaml
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos import bounds
from chaos.errors import Problem, Severity, SpecError, errors_among
from chaos.spec.yaml12 import MAPPING, SEQUENCE, compose

Path = tuple[str | int, ...]


class Place(Struct, frozen=True):
    """Where a value stands in its file; lines and columns count from 1."""

    line: int
    column: int


class Document:
    """One YAML file: its text, its node tree and the places of all of its values."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.places: dict[Path, Place] = {}
        self._inside: dict[Path, ScalarNode] = {}
        self._values = 0
        self.root = self._compose(text)
        if self.root is not None:
            self._remember(self.root, (), ())

    def problem(
        self,
        path: Path,
        message: str,
        hint: str | None = None,
        *,
        offset: int | None = None,
        severity: Severity = "error",
    ) -> None:
        """Add a problem at the value of `path`, or at the nearest one above it that exists.

        `offset` counts characters of a text, where the problem is with a part of it.
        """
        inside = self._inside.get(path) if offset is not None else None
        while path and path not in self.places:
            path = path[:-1]
        place = self.places.get(path, Place(1, 1))
        if inside is not None and offset is not None:
            place = self._place_inside(inside, offset) or place
        self._add(place, message, hint, severity)

    def at(self, node: Node, message: str, hint: str | None = None) -> None:
        """Add a problem at a node."""
        self._add(_place(node), message, hint)

    def below(self, key: str) -> Node | None:
        """What stands at a key of the whole, or None."""
        pairs = self.root.value if isinstance(self.root, MappingNode) else []
        return next((value for name, value in pairs if name.value == key), None)

    def again(self) -> Self:
        """The same document, with nothing said against it yet."""
        other = copy.copy(self)
        other.problems = []
        return other

    def raise_problems(self) -> None:
        """SpecError when there is any error."""
        if errors_among(self.problems):
            raise SpecError(self.problems)

    def _compose(self, text: str) -> Node | None:
        try:
            node = compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
            message = ": ".join(filter(None, (error.context, error.problem)))
            if "maximum nesting depth" in message:
                message = f"nested more than {bounds.SPEC_DEPTH} deep"
            self._add(place, message)
            return None
        except yaml.reader.ReaderError as error:
            self._add(
                _place_of_offset(text, error.position), "this character is not allowed in YAML"
            )
            return None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self._add(Place(1, 1), f"cannot be read as YAML: {error}")
            return None
        if node is None:
            self._add(Place(1, 1), "the file is empty")
        return node

    def _remember(self, node: Node, path: Path, above: tuple[Node, ...]) -> None:
        """Note all places. Stops at the first problem: behind an alias there may be no end of them."""
        if self.problems:
            return
        self._values += 1
        if any(node is other for other in above):
            self.at(node, "an alias contains itself")
        elif len(path) > bounds.SPEC_DEPTH:
            self.at(node, f"nested more than {bounds.SPEC_DEPTH} deep")
        elif self._values > bounds.SPEC_VALUES:
            self.at(node, f"more than {bounds.SPEC_VALUES} values, aliases included")
        elif not isinstance(node, ScalarNode) and node.tag not in (MAPPING, SEQUENCE):
            self.at(node, f"the tag {node.tag!r} is not one of YAML's core schema")
        self.places[path] = _place(node)
        if isinstance(node, ScalarNode):
            self._inside[path] = node
        for name, child in _children(node):
            self._remember(child, (*path, name), (*above, node))

    def _place_inside(self, node: ScalarNode, offset: int) -> Place | None:
        """Where a character of a text stands in the file; None where escapes stand for others.

        Breaks and indents are another number of blanks there, but what is not blank is the same, in the same order.
        """
        line, column = node.start_mark.line, node.start_mark.column
        if node.style in ("|", ">"):
            line, column = line + 1, 0
        elif node.style in ("'", '"'):
            column += 1
        left = sum(not character.isspace() for character in node.value[:offset])
        while line <= min(node.end_mark.line, len(self.lines) - 1):
            here = self.lines[line][column:]
            if node.style in ("'", '"') and re.search(r"\\|''", here):
                return None
            for at, character in enumerate(here, column):
                if not character.isspace():
                    if not left:
                        return Place(line + 1, at + 1)
                    left -= 1
            line, column = line + 1, 0
        return None

    def _add(
        self, place: Place, message: str, hint: str | None = None, severity: Severity = "error"
    ) -> None:
        source = self.lines[place.line - 1] if 0 < place.line <= len(self.lines) else ""
        self.problems.append(
            Problem(self.file, place.line, place.column, message, source, hint, severity)
        )


def _children(node: Node) -> Iterator[tuple[str | int, Node]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key.value if isinstance(key, ScalarNode) else "", value
    elif isinstance(node, SequenceNode):
        yield from enumerate(node.value)


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _place_of_offset(text: str, offset: int) -> Place:
    """Where a byte of the text as UTF-8 stands."""
    lines = text.encode()[:offset].decode().split("\n")
    return Place(len(lines), len(lines[-1]) + 1)
