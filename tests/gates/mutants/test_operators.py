"""Each operator changes one place of the text, and leaves the rest of it as it was written."""

import textwrap

import pytest

from gates.mutants.mutations import digest_of, mutated, mutations_of

NOTHING: list[str] = []


def edits(text: str) -> list[tuple[str, str]]:
    """(operator, changed lines) of every mutation of a module."""
    found = []
    for mutation in mutations_of("m.py", text):
        before, after = text.splitlines(), mutated(text, mutation).splitlines()
        kept = [line for line in after if line not in before]
        found.append((mutation.operator, " / ".join(line.strip() for line in kept)))
    return found


def named(text: str, operator: str) -> list[str]:
    """What one operator makes of a module."""
    return [line for name, line in edits(textwrap.dedent(text)) if name == operator]


@pytest.mark.parametrize(
    ("statement", "operator", "expected"),
    [
        ("if a:\n    b = c", "condition negated", ["if not (a):"]),
        ("while (a and  # both\n       b):\n    c()", "and to or", ["while (a or  # both"]),
        ("x = a if b else c", "condition negated", ["x = a if not (b) else c"]),
        ("x = [a for a in b if a]", "condition negated", ["x = [a for a in b if not (a)]"]),
        ("assert a", "condition negated", ["assert not (a)"]),
        ("if not a:\n    b()", "condition negated", NOTHING),
        ("if a == b:\n    c()", "condition negated", NOTHING),
        ("while True:\n    a()", "condition negated", NOTHING),
        ("if a:\n    raise B", "guard removed", ["if False:"]),
        ("if a < b:\n    raise B", "guard removed", ["if False:"]),
        ("if a:\n    b = c\n    raise B", "guard removed", ["if False:"]),
        ("if a:\n    raise B\nelse:\n    c()", "guard removed", NOTHING),
        ("if a:\n    b()", "guard removed", NOTHING),
        ("x = not (a or b)", "not removed", ["x = (a or b)"]),
        ("x = a or b or (c)", "or to and", ["x = a and b and (c)"]),
        ("x = a < b", "bound moved", ["x = a <= b"]),
        ("x = 'é' + a >= (b)", "bound moved", ["x = 'é' + a > (b)"]),
        ("x = a < b <= c", "bound moved", ["x = a <= b <= c", "x = a < b < c"]),
        ("x = a == b", "comparison negated", ["x = a != b"]),
        ("x = (a) not in (b)", "comparison negated", ["x = (a) in (b)"]),
        ("x = a is b", "comparison negated", ["x = a is not b"]),
        ("x = a - b", "arithmetic", ["x = a + b"]),
        ("a *= b", "arithmetic", ["a /= b"]),
        ("x = a // b", "arithmetic", ["x = a * b"]),
        ("x = 'a' + b", "arithmetic", NOTHING),
        ("x = 0", "constant", ["x = 1"]),
        ("x = -3", "constant", ["x = -30", "x = -4"]),
        ("x = 0.5", "constant", ["x = 1.5", "x = 5.0"]),
        ("x = True", "constant", ["x = False"]),
        ("x = None", "constant", NOTHING),
        ("x = rb'a'", "text", ["x = rb'XXa'"]),
        ("x = ''", "text", NOTHING),
        ("x = 'SELECT a FROM b'", "text", ["x = 'XXSELECT a FROM b'"]),
        ("x = 'what one says to people'", "text", NOTHING),
        ("x = f'{a} is {1 + 2}'", "text", NOTHING),
        ("a.commit()", "commit dropped", ["pass"]),
        ("a(b)", "call dropped", ["pass"]),
        ("_LOG.info('a')", "call dropped", NOTHING),
        ("x = F(a, guards=[b], c=d)", "guarding argument removed", ["x = F(a, c=d)"]),
        ("x = F(a, opt={b: c})", "guarding argument removed", ["x = F(a)"]),
        ("x = F(opt=b)", "guarding argument removed", ["x = F()"]),
    ],
)
def test_statement(statement: str, operator: str, expected: list[str]) -> None:
    assert named(statement, operator) == expected


def test_await_of_a_statement_is_dropped_and_that_of_a_value_is_not() -> None:
    text = """
    async def f() -> None:
        await g()
        x = await h()
    """
    assert named(text, "await dropped") == ["pass"]


def test_only_a_function_that_promises_something_returns_none_instead() -> None:
    text = """
    def f() -> int: return a
    def g() -> None: return b
    def h(): return c
    def i() -> int | None: return None
    """
    assert named(text, "return None") == ["def f() -> int: return None"]


def test_what_is_no_behaviour_is_left_alone() -> None:
    text = '''
    """Module, with 1 number."""
    from typing import TYPE_CHECKING, Literal, TypeAlias
    if TYPE_CHECKING:
        from a import b
    __all__ = ["f"]
    Kind: TypeAlias = Literal["a", "b"]
    Other = Literal["c"]
    class A(Struct, frozen=True):
        """A class."""
        def __repr__(self) -> str:
            return "A"
    def f(a: Literal["d"]) -> Literal["e"]:
        """A function."""
        parser.add_argument(help="words", description="words")
        raise Refused("a sentence")
    '''
    assert edits(textwrap.dedent(text)) == [("call dropped", "pass")]


def test_a_code_that_is_raised_is_no_sentence() -> None:
    assert named('raise Refused("not_found", "it is gone", 404)', "text") == [
        'raise Refused("XXnot_found", "it is gone", 404)'
    ]


def touched(text: str, operator: str) -> list[tuple[int, ...]]:
    """The lines that stand for the places of an operator."""
    found = mutations_of("m.py", textwrap.dedent(text))
    return [mutation.touches for mutation in found if mutation.operator == operator]


def test_lines_that_stand_for_a_place() -> None:
    text = """\
    LIMIT = 1
    @route(
        "/a")
    def f(
        a=True
    ):
        b(a)
        c(a)
    """
    assert touched(text, "constant") == [(1,), (1,), (7, 8)]
    assert touched(text, "text") == [(2, 3, 4, 5, 6)]
    assert touched(text, "call dropped") == [(7,), (8,)]


def test_lines_of_compound_statements_are_their_heads() -> None:
    text = """\
    if a and (
        b
    ):
        c()
    elif d or e:
        f()
    match g:
        case "h" if i or j:
            k()
    """
    assert touched(text, "and to or") == [(1, 2, 3)]
    assert touched(text, "or to and") == [(5,), (8,)]
    assert touched(text, "text") == [(8,)]


def test_line_ends_and_the_last_line_are_kept() -> None:
    text = "x = 1\r\ny = [\r\n    0]"
    changed = [mutated(text, mutation) for mutation in mutations_of("m.py", text)]
    assert changed == [
        "x = 10\r\ny = [\r\n    0]",
        "x = 2\r\ny = [\r\n    0]",
        "x = 1\r\ny = [\r\n    1]",
    ]


def test_digest_does_not_depend_on_where_the_place_is() -> None:
    above = "".join(f"x{number}\n" for number in range(8))
    (low,) = mutations_of("m.py", f"{above}a < b\n")
    (high,) = mutations_of("m.py", f"zero\n{above}a < b\n")
    assert low.diff != high.diff
    assert low.sha256 == high.sha256 == digest_of(low.diff)
    assert (low.line, high.line) == (9, 10)
    assert low.diff.startswith("--- a/m.py\n+++ b/m.py\n@@ ")
