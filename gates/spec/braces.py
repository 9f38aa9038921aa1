"""Texts in which no variable is filled in, such as SQL: a name in braces there would stay, and mean nothing."""

from chaos.spec.document import Document, Path
from chaos.spec.variables import literal, uses


def without_variables(text: str, path: Path, document: Document) -> str:
    """The text with `{{` and `}}` as braces; each variable in it is told at its place."""
    for found in uses(text, path):
        written = f"{{{found.name}}}"
        message = f"no variable is filled in here; the text {written} is written {{{written}}}"
        document.problem(found.place, message, offset=found.offset)
    return literal(text)
