"""Every link of every document leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OUTSIDE = ("https://", "http://", "mailto:")


def prose(text: str) -> str:
    """A document without its blocks of code, in which a bracket means something else."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What headings are called in links: lower case, hyphens for spaces, little else."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(document: Path) -> Iterator[str]:
    for link in LINK.findall(prose(document.read_text(encoding="utf-8"))):
        if link.startswith(OUTSIDE):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    assert list(broken(document)) == []


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# One\n[a](#one) [b](#two) [c](page.md#one) [d](gone.md) ![e](gone.svg)\n")
    assert [problem.partition(":")[0] for problem in broken(document)] == [
        "#two",
        "gone.md",
        "gone.svg",
    ]
