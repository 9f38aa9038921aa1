"""Pictures as inline SVG. All of svg.py is behind these few functions, because it escapes nothing itself.

Shapes and classes are ours; words may come from evidence and go through `words` only.
Colours are classes, so that one picture serves light, dark and print.
"""

from collections.abc import Sequence

import svg
from markupsafe import Markup, escape


def words(text: str) -> str:
    """Text that is safe between tags and inside an attribute."""
    return str(escape("".join(c for c in text if c in "\t\n" or ord(c) >= 0x20)))


def picture(width: int, height: int, label: str, elements: Sequence[svg.Element]) -> Markup:
    """The whole picture; `label` is what a screen reader says of it."""
    drawn = svg.SVG(
        viewBox=svg.ViewBoxSpec(0, 0, width, height),
        width=width,
        height=height,
        elements=list(elements),
        extra={"role": "img", "aria-label": words(label)},
    )
    return Markup(str(drawn))  # noqa: S704 - every text in it went through `words`


def text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> svg.Element:
    """One line of text; `anchor` is start, middle or end."""
    return svg.Text(x=x, y=y, text=words(content), class_=[f"t-{kind}", f"a-{anchor}"])


def box(
    x: float, y: float, width: float, height: float, kind: str, radius: float = 0
) -> svg.Element:
    """A rectangle, never narrower than can be seen."""
    return svg.Rect(
        x=round(x, 1),
        y=round(y, 1),
        width=round(max(width, 0.8), 1),
        height=round(max(height, 0), 1),
        rx=radius or None,
        class_=[f"b-{kind}"],
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> svg.Element:
    """A straight line."""
    return svg.Line(x1=x1, y1=y1, x2=x2, y2=y2, class_=[f"l-{kind}"])


def many(commands: Sequence[tuple[float, float, str]], *kinds: str) -> svg.Element:
    """Many equal shapes as one path: (x, y, what is drawn from there in SVG's relative commands)."""
    drawn = "".join(f"M{x:g} {y:g}{shape}" for x, y, shape in commands)
    # Shapes are constants of this package, but the path goes into an attribute all the same.
    return svg.Path(class_=[f"p-{kind}" for kind in kinds], extra={"d": words(drawn)})
