"""What specs, outputs and answers hold has no effect on a terminal, on the log of a CI service, or in XML."""

import io
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from gates.formats.printing import SafeConsole, printable, xml_text

EVERYTHING = st.text(st.characters(codec=None, exclude_categories=[]))


def printed(print_it: Callable[[SafeConsole], None], *, terminal: bool = False) -> str:
    output = io.StringIO()
    print_it(
        SafeConsole(file=output, highlight=False, soft_wrap=True, force_terminal=terminal, width=80)
    )
    return output.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\rb", "a\\rb"),
        ("a\ud800b\ufffe", "a\\ud800b\\ufffe"),
        ("::error::x", "\\::error::x"),
        ("it:\n  ::error file=a::x", "it:\n  \\::error file=a::x"),
        ("a ##[error]b ##vso[task.complete]c", "a #\\#[error]b #\\#vso[task.complete]c"),
        ("tests/a.py::test is :: fine, ü ✓ too\n\tand ##this", None),
    ],
)
def test_what_a_terminal_or_a_log_would_obey_is_shown(text: str, shown: str | None) -> None:
    wanted = text if shown is None else shown
    assert printable(text) == wanted
    assert printable(wanted) == wanted


def test_a_console_prints_nothing_else_whatever_it_is_given() -> None:
    text = "bad\x1b]0;x\n  ::error::bad"
    table = Table(box=None, show_header=False)
    table.add_row("PASS", text)
    for shown in (
        printed(lambda console: console.print(text, markup=False)),
        printed(lambda console: console.print(Text(text))),
        printed(lambda console: console.out(text)),
        printed(lambda console: console.print(table)),
        printed(lambda console: console.print(text, style="bold red", markup=False), terminal=True),
    ):
        assert "\x1b]" not in shown
        assert not any(line.lstrip().startswith("::") for line in shown.splitlines())


@given(EVERYTHING)
def test_whatever_is_written_into_xml_is_read_from_it(text: str) -> None:
    element = ET.Element("a", b=xml_text(text))
    element.text = xml_text(text)
    read = ET.fromstring(ET.tostring(element, encoding="utf-8"))
    assert (read.text or "").replace("\n", "\r") == xml_text(text).replace("\r\n", "\r").replace(
        "\n", "\r"
    )
