"""Pages of our templates: one text that loads nothing, with one look."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from gates.html import words
from gates.release.unproven import roughly

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
FILTERS: Mapping[str, Callable[..., str]] = {
    "seconds": words.seconds,
    "milliseconds": words.milliseconds,
    "number": words.number,
    "cell": words.cell,
    "value": words.value,
    "setting": words.setting,
    "counted": words.counted,
    "moment": words.moment,
    "roughly": roughly,
}


def page(template: str, script: str | None = None, **values: object) -> str:
    """A template with its values; the policy in its head names the digest of the one `script` that may run."""
    text = (TEMPLATES / script).read_text(encoding="utf-8") if script is not None else ""
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            # Both are files of this package, not text from elsewhere.
            style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704
            script=Markup(text),  # noqa: S704
            script_hash=_source_hash(text),
        )
    )


@cache
def _environment() -> "Environment":
    """The templates, of which each is compiled once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - see `page`

    from gates.html.compiled import Compiled  # noqa: PLC0415 - see `page`

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=Compiled(TEMPLATES, Path(__file__)),
    )
    environment.filters.update(FILTERS)
    return environment


def _source_hash(script: str) -> str:
    """What a Content-Security-Policy calls a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
