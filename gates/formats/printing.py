"""What is printed, and what stands in XML: nothing that a spec, an output or an answer held has any effect there."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Control characters, what changes the direction of a text, and what is no character."""
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0, production 2."""
_COMMAND: Final = re.compile(r"^(\s*)(?=::)", re.MULTILINE)
_MARKED: Final = re.compile(r"##(?=\w*\[)")
"""What the logs of CI services take for commands: `::error::` that begins a line, `##[error]` and `##vso[…]` anywhere."""


def printable(text: str) -> str:
    """The text with what cannot be seen as escapes, and nothing that a terminal or a log would obey."""
    return _escaped(_UNSEEN, _MARKED.sub(r"#\\#", _COMMAND.sub(r"\1\\", text)))


def near(path: Path) -> str:
    """A path as it is told: from where the run was started, if it lies below."""
    here, whole = Path.cwd(), path.resolve()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def xml_text(text: str) -> str:
    """The text with escapes of what XML 1.0 has no place for."""
    return _escaped(_NO_XML, text)


def _escaped(characters: re.Pattern[str], text: str) -> str:
    return characters.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class SafeConsole(Console):
    """A console that prints only what is printable, whatever it is given."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does it; its own styles and movements of the cursor are not touched."""
        begins = True
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            # Only what begins a line is a command.
            text = printable(segment.text) if begins else printable(f"|{segment.text}")[1:]
            yield Segment(text, segment.style)
            begins = segment.text.endswith("\n") or (begins and not segment.text.strip())
