"""Reads YAML into Structs and reports every error with its place, all in one pass.

The node tree of the document is walked beside the type hints of the Struct; the leaves are converted
by msgspec. YAML is read with the core schema of YAML 1.2 (`chaos.spec.yaml12`); a duplicate key is an error.
"""

import difflib
import functools
import io
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos import bounds, regular
from chaos.errors import Problem, SpecError
from chaos.spec.document import Document
from chaos.spec.step import FORM, SpecFile
from chaos.spec.units import Unit
from chaos.spec.variables import filled_in_part, is_literal, whole_placeholder
from chaos.spec.yaml12 import scalar

S = TypeVar("S", bound=Struct)


class Refusal(Struct, frozen=True):
    """Why a mapping is none of the Structs it could be; `key` is the one to blame, if any."""

    message: str
    key: str | None = None
    hint: str | None = None


Choose = Callable[[Iterable[str]], type[Struct] | Refusal]
"""Picks the Struct of a mapping by its keys, or says why it cannot."""

_TITLES: Final = frozenset({"that", "title", "defect", "open", "ready"})
_NAMED: Final = frozenset(
    {
        "gate", "id", "epic", "target", "scenario", "release", "name", "as", "to", "via", "use", "label", "role", "table",
        "load", "stream", "watch", "hammer", "start", "kill", "restart", "clock", "clear", "default",
    }
)  # fmt: skip
"""Keys whose texts are told in one line, and keys whose texts are names."""

_NULL: Final = "tag:yaml.org,2002:null"


def load(
    path: Path, struct: type[S], choosers: Mapping[type[Struct], Choose]
) -> tuple[S, Document]:
    """Read `path` as `struct`.

    `choosers` say for a base Struct which one a mapping is (a step by its kind). Raises SpecError with
    everything that is wrong; returns the value and the document for later complaints about places.
    """
    value, document = value_of(path, read_text(path), struct, choosers)
    assert isinstance(value, struct)
    return value, document


def value_of(
    path: Path, text: str, hint: object, choosers: Mapping[type[Struct], Choose]
) -> tuple[object, Document]:
    """Like `load`, of any type and of a text that was read from `path`."""
    document = Document(str(path), text)
    document.raise_problems()
    assert document.root is not None
    arguments: Mapping[str, object] = {}
    if isinstance(hint, type) and issubclass(hint, SpecFile) and hint.arguments is not None:
        # What is wrong with them is told below, where they are read as what they are.
        unread = _Walker(document.again(), choosers)
        arguments = _literals(unread.plain(document.below(hint.arguments)))
    value = _Walker(document, choosers, arguments).convert(document.root, hint)
    document.raise_problems()
    return value, document


def again_with(
    arguments: Mapping[str, object],
    document: Document,
    struct: type[S],
    choosers: Mapping[type[Struct], Choose],
) -> S:
    """What was read from a document, with other values for its arguments; SpecError says what is wrong with it then."""
    again = document.again()
    assert again.root is not None
    value = _Walker(again, choosers, _literals(arguments)).convert(again.root, struct)
    again.raise_problems()
    assert isinstance(value, struct)
    return value


def _literals(values: object) -> dict[str, object]:
    """Those of some arguments whose values can be put in their place before a run; the others are variables of the run."""
    named = values if isinstance(values, Mapping) else {}
    return {name: value for name, value in named.items() if is_literal(value)}


def read_text(path: Path) -> str:
    """A file of at most `SPEC_BYTES`; SpecError says why it cannot be read."""
    try:
        data = regular.read(path, bounds.SPEC_BYTES)
        with io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig") as text:
            return text.read()
    except OSError as error:
        raise SpecError([Problem(str(path), 1, 1, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise SpecError([_not_text(path, error)]) from error


def _not_text(path: Path, error: UnicodeDecodeError) -> Problem:
    before = error.object[: error.start]
    column = error.start - (before.rfind(b"\n") + 1) + 1
    return Problem(str(path), before.count(b"\n") + 1, column, "cannot be read: it is not UTF-8")


def unit_hook(hint: type, value: object) -> object:
    """msgspec's dec_hook for units."""
    if issubclass(hint, Unit):
        return hint.of(value)
    raise NotImplementedError(hint)


@functools.cache
def _hints(struct: type[Struct]) -> Mapping[str, object]:
    return get_type_hints(struct)


@functools.cache
def _fields(struct: type[Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


class _Walker:
    def __init__(
        self,
        document: Document,
        choosers: Mapping[type[Struct], Choose],
        arguments: Mapping[str, object] = {},
    ) -> None:
        self.document = document
        self.choosers = choosers
        self.arguments = arguments

    def convert(self, node: Node, hint: object) -> object:
        """The node as a value of `hint`; a problem is noted and None returned where it is not one."""
        fitting = _alternatives(node, hint)
        if not fitting:
            self.document.at(node, f"expected {_words(hint)}, got {_sort_of(node)}")
            return None
        hint = fitting[0] if len(fitting) == 1 else Union[tuple(fitting)]  # noqa: UP007 - of values
        origin = get_origin(hint)
        if isinstance(hint, type) and issubclass(hint, Struct):
            return self._struct(node, hint)
        if origin is list:
            return self._list(node, get_args(hint)[0])
        if origin is dict:
            return self._dict(node, get_args(hint)[1])
        return self._leaf(node, hint)

    def _struct(self, node: Node, base: type[Struct]) -> Struct | None:
        if not isinstance(node, MappingNode):
            self.document.at(node, f"expected {describe(base)}, got {_sort_of(node)}")
            return None
        before = len(self.document.problems)
        pairs = self._pairs(node)
        struct = self._choose(node, base, pairs)
        if struct is None or self._is_of_another_form(struct, pairs):
            return None
        values = self._values(node, struct, pairs)
        if len(self.document.problems) > before:
            return None
        try:
            return struct(**values)
        except (ValueError, TypeError) as error:
            self.document.at(node, str(error))
            return None

    def _is_of_another_form(
        self, struct: type[Struct], pairs: Mapping[str, tuple[Node, Node]]
    ) -> bool:
        """Whether a whole file is written in a form that is not known here; that is then all that is said of it."""
        if not issubclass(struct, SpecFile) or "form" not in pairs:
            return False
        node = pairs["form"][1]
        form = scalar(node) if isinstance(node, ScalarNode) else None
        if form == FORM or not isinstance(form, int):
            return False
        self.document.at(node, f"this is form {form} of specs, this harness reads form {FORM}")
        return True

    def _choose(
        self, node: MappingNode, base: type[Struct], pairs: Mapping[str, tuple[Node, Node]]
    ) -> type[Struct] | None:
        if base not in self.choosers:
            return base
        chosen = self.choosers[base](pairs)
        if not isinstance(chosen, Refusal):
            return chosen
        blamed = pairs[chosen.key][0] if chosen.key is not None else node
        self.document.at(blamed, chosen.message, chosen.hint)
        return None

    def _values(
        self, node: MappingNode, struct: type[Struct], pairs: Mapping[str, tuple[Node, Node]]
    ) -> dict[str, object]:
        fields = _fields(struct)
        hints = _hints(struct)
        values: dict[str, object] = {}
        meant: set[str | None] = set()
        for key, (key_node, value_node) in pairs.items():
            if key not in fields:
                hint = closest(key, fields)
                meant.add(hint)
                self.document.at(key_node, f"unknown key {key!r} in {describe(struct)}", hint)
            else:
                value = self.convert(value_node, hints[fields[key].name])
                values[fields[key].name] = value
                self._name(value_node, key, value)
        for field in fields.values():
            given = field.name in values or field.encode_name in meant
            if field.required and not given:
                self.document.at(node, f"{describe(struct)} needs {field.encode_name!r}")
        return values

    def _name(self, node: Node, key: str, value: object) -> None:
        """What is a name is no essay."""
        most = bounds.TITLE_CHARS if key in _TITLES else bounds.NAME_CHARS
        if key in _TITLES | _NAMED and isinstance(value, str) and len(value) > most:
            self.document.at(node, f"{len(value)} characters are more than the {most} of a {key}")

    def _pairs(self, node: MappingNode) -> dict[str, tuple[Node, Node]]:
        pairs: dict[str, tuple[Node, Node]] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if key in pairs:
                self.document.at(key_node, f"duplicate key {key!r}")
            else:
                pairs[key] = (key_node, value_node)
        return pairs

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            self.document.at(node, "a key must be a text")
            return None
        try:
            scalar(node)
        except ValueError as error:
            self.document.at(node, str(error))
            return None
        if len(node.value) > bounds.TITLE_CHARS:
            message = (
                f"{len(node.value)} characters are more than the {bounds.TITLE_CHARS} of a key"
            )
            self.document.at(node, message)
            return None
        return str(node.value)

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
        before = len(self.document.problems)
        value = self.plain(node)
        if hint is object:
            self._require_json(node, value)
        if hint is object or len(self.document.problems) > before:
            return value
        if get_origin(hint) is Literal and value not in get_args(hint):
            choices = get_args(hint)
            message = f"expected {_one_of(choices)}, got {self._got(node, value)}"
            self.document.at(node, message, closest(str(value), map(str, choices)))
            return None
        try:
            return msgspec.convert(value, hint, dec_hook=unit_hook)
        except msgspec.ValidationError as error:
            if self._is_filled_in(node, value) and str in (hint, *get_args(hint)):
                # A number that stands for a text is that text.
                return msgspec.json.encode(value).decode()
            of_type = str(error).startswith("Expected `") or whole_placeholder(value) is not None
            message = f"expected {_words(hint)}, got {self._got(node, value)}"
            self.document.at(node, message if of_type else str(error).replace("`", "'"))
            return None

    def _is_filled_in(self, node: Node, value: object) -> bool:
        return isinstance(node, ScalarNode) and node.value != value and "{" in node.value

    def _got(self, node: Node, value: object) -> str:
        """What was found in place of what was expected."""
        if isinstance(node, ScalarNode) and self._is_filled_in(node, value):
            return f"{value!r} as {node.value}"
        if whole_placeholder(value) is not None:
            return f"{value}: only an argument of a scenario, with a value that is written out, can stand here"
        return _sort_of(node)

    def _require_json(self, node: Node, value: object) -> None:
        """What is sent or compared as it is written must be something that JSON can hold."""
        if isinstance(node, MappingNode):
            for key, child in node.value:
                # A key that is no text has been complained about, and is none of the value's.
                name = key.value if isinstance(key, ScalarNode) else None
                self._require_json(child, value.get(name) if isinstance(value, dict) else None)
        elif isinstance(node, SequenceNode) and isinstance(value, list):
            for child, item in zip(node.value, value, strict=True):
                self._require_json(child, item)
        elif isinstance(value, float) and not math.isfinite(value):
            self.document.at(node, f"{node.value} is no number that JSON could hold")

    def plain(self, node: Node | None) -> object:
        """The node as YAML has it, with the arguments in their places."""
        if isinstance(node, MappingNode):
            return {key: self.plain(child) for key, (_, child) in self._pairs(node).items()}
        if isinstance(node, SequenceNode):
            return [self.plain(child) for child in node.value]
        if not isinstance(node, ScalarNode):
            return None
        try:
            value = scalar(node)
            if self.arguments and isinstance(value, str):
                return filled_in_part(value, self.arguments)
            if isinstance(value, float) and "n" not in node.value.lower():
                bounds.require_number(node.value)
            return value
        except ValueError as error:
            self.document.at(node, str(error))
            return None


def _alternatives(node: Node, hint: object) -> list[object]:
    """Those of a union that a node of this sort can be; none is an error."""
    if get_origin(hint) not in (Union, types.UnionType):
        return [hint]
    if node.tag == _NULL and type(None) in get_args(hint):
        return [type(None)]
    sort = next(sort for kind, sort in _SORTS.items() if isinstance(node, kind))
    return [option for option in get_args(hint) if option is not type(None) and sort(option)]


def _is_mapping(option: object) -> bool:
    is_struct = isinstance(option, type) and issubclass(option, Struct)
    return get_origin(option) is dict or option is object or is_struct


def _is_sequence(option: object) -> bool:
    return get_origin(option) is list or option is object


def _is_scalar(option: object) -> bool:
    return option is object or not (_is_mapping(option) or _is_sequence(option))


_SORTS: Mapping[type[Node], Callable[[object], bool]] = {
    MappingNode: _is_mapping,
    SequenceNode: _is_sequence,
    ScalarNode: _is_scalar,
}

_NAMES: Mapping[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def _words(hint: object) -> str:
    """What a hint asks for, in the words of people who write YAML."""
    if get_origin(hint) in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return " or ".join(map(_words, options))
    if isinstance(hint, type) and issubclass(hint, Struct):
        return describe(hint)
    if isinstance(hint, type) and issubclass(hint, Unit):
        return f"something like {hint.EXAMPLE}"
    return _NAMES.get(get_origin(hint) or hint, str(hint))


def _one_of(choices: Iterable[object]) -> str:
    return "one of " + ", ".join(map(str, choices))


def _sort_of(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if node.tag == _NULL:
        return "nothing"
    quoted = node.tag == "tag:yaml.org,2002:str"
    return f"the text {node.value!r}" if quoted else str(node.value)


def describe(struct: type[Struct]) -> str:
    """`Gate` is "a gate", `Assertion` "an assertion", `LinkSpec` "a link"."""
    name = struct.__name__.removesuffix("Spec")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, or None."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None
