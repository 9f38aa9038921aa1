"""The places of syntax nodes in the text of a module, so that a mutation is a small edit of that text."""

import ast
import re
from collections.abc import Iterable

from msgspec import Struct

_WORDS = re.compile(rb"#[^\n]*|\w+|[^\w\s()\\#]+")
"""What stands between two operands, brackets and line ends left out."""


class Change(Struct, frozen=True, order=True):
    """Bytes of the source from `start` to before `end` become `text`."""

    start: int
    end: int
    text: str


class Source:
    """The text of one module; offsets count its UTF-8 bytes, as the columns of `ast` do."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        self.tree = ast.parse(text)
        self._lines = [0]
        for line in self.bytes.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Where a node begins."""
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Where the byte after a node is."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def whole(self, node: ast.expr | ast.stmt, text: str) -> Change:
        """All of a node replaced."""
        return Change(self.start(node), self.end(node), text)

    def around(self, node: ast.expr, before: str, after: str) -> tuple[Change, Change]:
        """Something put before and behind a node."""
        start, end = self.start(node), self.end(node)
        return Change(start, start, before), Change(end, end, after)

    def between(self, left: ast.expr, right: ast.expr, words: str, new: str) -> Change | None:
        """The operator `words` between two operands replaced, whatever brackets and comments stand there too."""
        begin, end = self.end(left), self.start(right)
        found = list(_WORDS.finditer(self.bytes, begin, end))
        found = [word for word in found if not word[0].startswith(b"#")]
        wanted = [word.encode() for word in words.split()]
        for index in range(len(found) - len(wanted) + 1):
            here = found[index : index + len(wanted)]
            if [word[0] for word in here] == wanted:
                return Change(here[0].start(), here[-1].end(), new)
        return None

    def text(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node."""
        return self.bytes[self.start(node) : self.end(node)].decode()

    def changed(self, changes: Iterable[Change]) -> str:
        """The module with some changes, which do not overlap."""
        result = self.bytes
        for change in sorted(changes, reverse=True):
            result = result[: change.start] + change.text.encode() + result[change.end :]
        return result.decode()
