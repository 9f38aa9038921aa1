"""Variables in specs, `{token.operator}`, and places in answers, `$.items[0].id`.

A text that is one placeholder and nothing else keeps the variable's type; inside a longer text, what is
not a text is written as JSON. Braces that hold no name (JSON in a text) stay as they are, and so do those
of a variable's own value (the `{id}` of a route that comes from the system); a name that nothing has
set is an error.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

_PLACEHOLDER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*(?:[.-][a-zA-Z0-9_-]+)*)\}")
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
        return _PLACEHOLDER.sub(lambda match: _as_text(self[match[1]]), value)

    def _fill_text(self, value: str) -> object:
        whole = _PLACEHOLDER.fullmatch(value)
        return self[whole[1]] if whole else self.text(value)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def placeholders(value: object) -> Iterator[str]:
    """Names of all variables that `value` uses, in any text of it."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from placeholders(key)
            yield from placeholders(item)
    elif isinstance(value, list):
        for item in value:
            yield from placeholders(item)


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
