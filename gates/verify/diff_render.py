"""A difference between reports as text, JSON and Markdown."""

import itertools

import msgspec

from gates.verify.diff import Change, Diff

_MARK = "⚠"
UNREASONED = "release.yaml gives no reason in `reasons`"


def as_json(diff: Diff) -> str:
    """Everything, with whether each change is flagged."""
    changes = [{**msgspec.to_builtins(one), "flagged": one.flagged} for one in diff.changes]
    said = {**msgspec.to_builtins(diff), "changes": changes, "flagged": len(diff.flagged)}
    return msgspec.json.format(msgspec.json.encode(said)).decode()


def as_text(diff: Diff) -> str:
    """One line per change below its gate; those that need a look are marked."""
    lines = [f"{diff.base} ({diff.base_verdict}) → {diff.new} ({diff.new_verdict})"]
    for gate, changes in itertools.groupby(diff.changes, key=lambda one: one.gate):
        lines += ["", gate or "release"]
        lines += [
            f"{_MARK if one.flagged else ' '} {one.direction:9} {_said(one)}" for one in changes
        ]
    if diff.rewritten:
        lines += ["", "rewritten, and why"]
        lines += [f"  {one.gate}: {_line(one.reason or UNREASONED)}" for one in diff.rewritten]
    return "\n".join([*lines, "", _total(diff)])


def as_markdown(diff: Diff) -> str:
    """One table, for a pull request or the summary of a CI job."""
    lines = [
        f"### {diff.base} ({diff.base_verdict}) → {diff.new} ({diff.new_verdict})",
        "",
        _total(diff),
    ]
    if diff.changes:
        lines += ["", "| | gate | what | before | after |", "|---|---|---|---|---|"]
    for one in diff.changes:
        mark = f"{_MARK} {one.direction}" if one.flagged else one.direction
        cells = [mark, one.gate or "release", one.what, one.before, one.after]
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    if diff.rewritten:
        lines += ["", "| rewritten | why |", "|---|---|"]
        lines += [
            f"| {_cell(one.gate)} | {_cell(one.reason or UNREASONED)} |" for one in diff.rewritten
        ]
    return "\n".join(lines)


def _said(change: Change) -> str:
    if change.before is None or change.after is None:
        value = change.after if change.before is None else change.before
        return f"{change.what} ({_line(value)})" if value is not None else change.what
    return f"{change.what}: {_line(change.before)} → {_line(change.after)}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _total(diff: Diff) -> str:
    if not diff.changes:
        return "nothing changed"
    flagged = len(diff.flagged)
    noun = "change" if len(diff.changes) == 1 else "changes"
    return f"{len(diff.changes)} {noun}, {flagged} of them loosened or unclear"


def _cell(text: str | None) -> str:
    escaped = _line(text or "").replace("\\", "\\\\").replace("|", "\\|")
    return escaped.replace("<", "&lt;").replace("`", "\\`")
