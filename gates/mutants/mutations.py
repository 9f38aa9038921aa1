"""All mutations of a module: which of its nodes are changed, and what is left alone because it is no behaviour."""

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from chaos import regular
from gates.mutants.operators import edits_of
from gates.mutants.text import Change, Source
from gates.prove.copies import diff_of
from gates.spec.sources import decoded

_TEXTS_FOR_PEOPLE = frozenset(
    {"help", "description", "epilog", "metavar", "usage", "prog", "summary"}
)
_UNUSED_FREEDOM = frozenset({"frozen", "kw_only", "sync_to_thread"})
"""What these forbid nobody does, or it would not run, and a handler does the same in any thread."""
_LOGGERS = frozenset({"log", "logger", "logging"})
_TYPING = frozenset({"TypeVar", "ParamSpec", "NewType", "cast"})
_HUNK = re.compile(r"(?m)^@@ .* @@")


class Mutation(Struct, frozen=True, kw_only=True):
    """One change of one place. `touches` are the lines whose execution means that the place was executed.

    `sha256` is that of the diff without the numbers of its hunk, so that edits elsewhere leave it as it is.
    """

    file: str
    line: int
    operator: str
    diff: str
    sha256: str
    touches: tuple[int, ...]
    changes: tuple[Change, ...]

    @property
    def where(self) -> str:
        """Its place and kind, as they are told."""
        return f"{self.file}:{self.line} {self.operator}"


def mutations_of(file: str, text: str) -> list[Mutation]:
    """Every mutation of a module, in the order of their places; each compiles and changes its syntax tree."""
    source = Source(text)
    before = [ast.dump(statement) for statement in source.tree.body]
    found: dict[str, Mutation] = {}
    for place in _Walk(source).places():
        for operator, changes in edits_of(place.node, source, place.returns):
            after = source.changed(changes)
            line = source.bytes.count(b"\n", 0, changes[0].start) + 1 if changes else 0
            if not changes or after in found or not _differs(source.tree, before, after, line):
                continue
            diff = diff_of(file, text, after)
            mutation = Mutation(
                file=file,
                line=line,
                operator=operator,
                diff=diff,
                sha256=digest_of(diff),
                touches=place.touches,
                changes=changes,
            )
            found[after] = mutation
    return sorted(found.values(), key=lambda mutation: mutation.changes)


def mutated(text: str, mutation: Mutation) -> str:
    """The module with the mutation."""
    return Source(text).changed(mutation.changes)


def mutate(root: Path, mutation: Mutation) -> None:
    """Make the change below `root`. Line ends are kept as they are: offsets count bytes."""
    path = root / mutation.file
    text, encoding = decoded(regular.read(path))
    path.write_bytes(mutated(text, mutation).encode(encoding))


def digest_of(diff: str) -> str:
    """SHA-256 in hex of a diff whose hunks are left without their numbers."""
    return hashlib.sha256(_HUNK.sub("@@", diff).encode()).hexdigest()


def _differs(tree: ast.Module, before: list[str], after: str, line: int) -> bool:
    """Whether a module that was changed in `line` compiles, and is not the same to Python."""
    try:
        changed = ast.parse(after)
        compile(changed, "<mutant>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    if len(changed.body) != len(tree.body):
        return True
    # Only the outermost statement around the change can be another one.
    index = max(number for number, each in enumerate(tree.body) if _head(each)[0] <= line)
    return ast.dump(changed.body[index]) != before[index]


class _Place(Struct, frozen=True):
    node: ast.AST
    touches: tuple[int, ...]
    returns: ast.expr | None


class _Walk:
    """Yields the nodes that may be changed, each with the lines that stand for it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._docstrings = set(_docstrings(source.tree))

    def places(self) -> Iterator[_Place]:
        """All of them."""
        yield from self._statements(self._source.tree.body, None)

    def _statements(self, body: list[ast.stmt], returns: ast.expr | None) -> Iterator[_Place]:
        for statement in body:
            if not self._is_left_alone(statement):
                yield from self._statement(statement, returns)

    def _is_left_alone(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.FunctionDef):
            return statement.name == "__repr__"
        if isinstance(statement, ast.If):
            return _name(statement.test) == "TYPE_CHECKING"
        if isinstance(statement, ast.AnnAssign):
            return _name(statement.annotation) == "TypeAlias"
        if isinstance(statement, ast.Assign):
            return _name(statement.targets[0]) == "__all__"
        logs = isinstance(statement, ast.Expr) and _is_log(statement.value)
        return logs or statement in self._docstrings

    def _statement(self, statement: ast.stmt, returns: ast.expr | None) -> Iterator[_Place]:
        touches = _head(statement)
        yield _Place(statement, touches, returns)
        inner = returns
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._expressions(statement.decorator_list, touches)
            inside = tuple(range(statement.body[0].lineno, (statement.end_lineno or 0) + 1))
            # A default is there when the module is loaded, and matters only where the function is called.
            yield from self._expressions(statement.args.defaults, inside)
            defaults = [each for each in statement.args.kw_defaults if each is not None]
            yield from self._expressions(defaults, inside)
            inner = statement.returns
        else:
            yield from self._parts(statement, touches)
        for name in ("body", "orelse", "finalbody"):
            yield from self._statements(getattr(statement, name, []), inner)
        for handler in getattr(statement, "handlers", []):
            yield from self._statements(handler.body, inner)
        if isinstance(statement, ast.Match):
            yield from self._cases(statement, inner)

    def _cases(self, statement: ast.Match, returns: ast.expr | None) -> Iterator[_Place]:
        for case in statement.cases:
            parts = [case.pattern, *([case.guard] if case.guard is not None else [])]
            last = case.guard or case.pattern
            lines = tuple(range(case.pattern.lineno, (last.end_lineno or last.lineno) + 1))
            yield from self._expressions(parts, lines)
            yield from self._statements(case.body, returns)

    def _parts(self, statement: ast.stmt, touches: tuple[int, ...]) -> Iterator[_Place]:
        """The expressions of a statement that are behaviour."""
        for name, value in ast.iter_fields(statement):
            if name in {"annotation", "body", "orelse", "finalbody", "handlers", "cases"}:
                continue
            nodes = value if isinstance(value, list) else [value]
            nodes = [node for node in nodes if isinstance(node, ast.AST)]
            raised = isinstance(statement, ast.Raise)
            yield from self._expressions(nodes, touches, raised=raised)

    def _expressions(
        self,
        nodes: list[ast.AST] | list[ast.expr],
        touches: tuple[int, ...],
        *,
        raised: bool = False,
    ) -> Iterator[_Place]:
        for node in nodes:
            if _is_left_out(node, raised=raised):
                continue
            yield _Place(node, touches, None)
            inner = [child for child in ast.iter_child_nodes(node) if not _is_type(node, child)]
            yield from self._expressions(inner, touches, raised=raised)


def _docstrings(tree: ast.AST) -> Iterator[ast.stmt]:
    """Texts that stand alone: of a module, class or function, or below a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node


def _is_left_out(node: ast.AST, *, raised: bool) -> bool:
    """What is a text for people, or parts of a text whose places Python 3.11 does not know."""
    if isinstance(node, ast.JoinedStr) or _is_log(node):
        return True
    if isinstance(node, ast.keyword) and node.arg in _TEXTS_FOR_PEOPLE | _UNUSED_FREEDOM:
        return True
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    # A code is a word. What has a blank in it is said to somebody when it is raised, and sentences always are.
    return (raised and " " in node.value) or _is_prose(node.value)


def _is_prose(text: str) -> bool:
    """Whether a text is three words or more and no SQL, which begins with a word in capitals."""
    words = text.split()
    return len(words) >= 3 and not words[0].isupper()


def _is_type(parent: ast.AST, child: ast.AST) -> bool:
    """Whether a part of an expression is only there for a type checker."""
    if isinstance(parent, ast.Subscript):
        return child is parent.slice and _name(parent.value) in {"Literal", "Annotated"}
    if isinstance(parent, ast.Call):
        return bool(parent.args) and child is parent.args[0] and _name(parent.func) in _TYPING
    return isinstance(parent, ast.arg)


def _is_log(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return _name(node.func.value).lower().strip("_") in _LOGGERS


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _head(statement: ast.stmt) -> tuple[int, ...]:
    """The lines of a statement; of a compound one only those before what it contains."""
    first = statement.lineno
    for decorator in getattr(statement, "decorator_list", []):
        first = min(first, decorator.lineno)
    last = statement.end_lineno or statement.lineno
    inner = [*getattr(statement, "body", []), *getattr(statement, "cases", [])]
    if isinstance(statement, ast.Match):
        last = statement.subject.end_lineno or statement.lineno
    elif inner:
        decorated = [each.lineno for each in getattr(inner[0], "decorator_list", [])]
        last = max(statement.lineno, min([inner[0].lineno, *decorated]) - 1)
    return tuple(range(first, last + 1))
