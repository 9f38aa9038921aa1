"""Variables in specs, `{token.operator}`, and places in answers, `$.items[0].id`.

A text that is one placeholder and nothing else keeps the variable's type; inside a longer text, what is
not a text is written as JSON. `{{` is a brace, and so is the `}}` that belongs to it. Other braces that hold no name
(JSON in a text) stay as they are, and so do those of a variable's own value (the `{id}` of a route that
comes from the system); a name that nothing has set is an error.
"""

import re
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Struct

_PLACEHOLDER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*(?:[.-][a-zA-Z0-9_-]+)*)\}")
_TOKEN = re.compile(rf"\{{\{{|\}}\}}|{_PLACEHOLDER.pattern}")
_PATH_PART = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]{1,9})\]")


class UnknownVariable(KeyError):
    """A placeholder names a variable that nothing has set."""


class Variables(Mapping[str, object]):
    """Layered values by dotted name; a lookup walks into objects (`route.path`)."""

    def __init__(self, *layers: Mapping[str, object]) -> None:
        self._values: dict[str, object] = {}
        for layer in layers:
            self._values.update(layer)

    def __getitem__(self, name: str) -> object:
        if name in self._values:
            return self._values[name]
        head, _, rest = name.rpartition(".")
        while head:
            if head in self._values:
                return _walk(self._values[head], rest.split("."), name)
            head, _, more = head.rpartition(".")
            rest = f"{more}.{rest}"
        raise UnknownVariable(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def set(self, name: str, value: object) -> None:
        """Set a variable from now on."""
        self._values[name] = value

    def child(self, values: Mapping[str, object]) -> "Variables":
        """The same variables with more on top."""
        return Variables(self._values, values)

    def fill(self, value: object) -> object:
        """`value` with every placeholder in every text of it replaced; UnknownVariable otherwise."""
        if isinstance(value, str):
            return self._fill_text(value)
        if isinstance(value, Mapping):
            return {str(self._fill_text(key)): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return value

    def text(self, value: str) -> str:
        """Like `fill`, always a text."""
        return _replaced(value, lambda name: _as_text(self[name]))

    def texts(self, values: Mapping[str, str]) -> dict[str, str]:
        """Texts by name, with every placeholder replaced, those in names, too."""
        return {self.text(name): self.text(value) for name, value in values.items()}

    def _fill_text(self, value: str) -> object:
        name = whole_placeholder(value)
        return self.text(value) if name is None else self[name]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _replaced(text: str, value: Callable[[str], str]) -> str:
    opened = 0

    def replacement(token: re.Match[str]) -> str:
        nonlocal opened
        if token[0] == "{{":
            opened += 1
            return "{"
        if token[0] == "}}":
            if opened == 0:
                # None belongs to it: it ends JSON in a text.
                return "}}"
            opened -= 1
            return "}"
        return value(token[1])

    return _TOKEN.sub(replacement, text)


def is_literal(value: object) -> bool:
    """Whether a value is a single one in which nothing is left to be filled in."""
    if isinstance(value, str):
        return "{" not in value and "}" not in value
    return isinstance(value, int | float)


def filled_in_part(text: str, values: Mapping[str, object]) -> object:
    """A text with those of its placeholders replaced that name one of `values`; all else stays as it is written."""
    name = whole_placeholder(text)
    if name is not None and name in values:
        return values[name]

    def replacement(token: re.Match[str]) -> str:
        found = token[1] or ""
        return _as_text(values[found]) if found in values else token[0]

    return _TOKEN.sub(replacement, text)


def literal(text: str) -> str:
    """A text in which nothing is filled in: only `{{` and `}}` are single braces."""
    return _replaced(text, lambda name: f"{{{name}}}")


class Placeholder(Struct, frozen=True):
    """A placeholder in a value: the keys and indices that lead to its text, its name, and where in the text it begins."""

    place: tuple[str | int, ...]
    name: str
    offset: int


def uses(value: object, place: tuple[str | int, ...] = ()) -> Iterator[Placeholder]:
    """All placeholders of `value`, in any text of it; one in a key stands where its value does."""
    if isinstance(value, str):
        for token in _TOKEN.finditer(value) if "{" in value else ():
            if token[1] is not None:
                yield Placeholder(place, token[1], token.start())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (Placeholder((*place, key), use.name, 0) for use in uses(key))
            yield from uses(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from uses(item, (*place, index))


def placeholders(value: object) -> Iterator[str]:
    """Names of all variables that `value` uses, in any text of it."""
    return (use.name for use in uses(value))


def could_be(text: str, filled: str) -> bool:
    """Whether a text may have become another one, once all of its variables were filled in."""
    parts = _PLACEHOLDER.split(text)[::2]
    return re.fullmatch(".*".join(map(re.escape, parts)), filled, re.DOTALL) is not None


def whole_placeholder(value: object) -> str | None:
    """The variable that a text is nothing but, or None."""
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def pick(document: object, path: str) -> object:
    """The value at `path` (`$.a.b[0]`) of a JSON document.

    KeyError when it is not there, ValueError when the path cannot be read.
    """
    for part in path_parts(path):
        document = _child(document, part, path)
    return document


def path_parts(path: str) -> list[str | int]:
    """Keys and indices of a place in an answer; ValueError when it cannot be read."""
    if not path.startswith("$"):
        raise ValueError(f"a place in an answer starts with $, not {path!r}")
    position, parts = 1, list[str | int]()
    while match := _PATH_PART.match(path, position):
        position = match.end()
        parts.append(match[1] if match[1] is not None else int(match[2]))
    if position != len(path):
        raise ValueError(f"cannot read the place {path!r} from {path[position:]!r} on")
    return parts


def _child(document: object, key: str | int, path: str) -> object:
    if isinstance(document, Mapping) and key in document:
        return document[key]
    if isinstance(document, list) and isinstance(key, int) and key < len(document):
        return document[key]
    raise KeyError(path)


def _walk(value: object, parts: list[str], name: str) -> object:
    for part in parts:
        if not isinstance(value, Mapping) or part not in value:
            raise UnknownVariable(name)
        value = value[part]
    return value
