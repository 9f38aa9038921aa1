"""A gate in prose: in brief what it claims and what turns it red, in full all that it does, and with which SQL."""

from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from chaos.engine.plan import children
from chaos.spec.step import Send, Step
from chaos.spec.target import Target
from chaos.steps import KINDS
from gates.spec.assertion import Assertion
from gates.spec.gate import Gate
from gates.spec.snapshot import rows_by_name

SHAM: Final = "its faults are sham: everything is done but to inject them"
MOST_CHARACTERS: Final = 160
MOST_LINES: Final = 30

_FRAME_LINES: Final = 11
_MOST_CLAIMS: Final = 10


def brief(gate: Gate) -> Iterator[str]:
    """At most `MOST_LINES` lines of Markdown: where the gate comes from, what must be true, and what turns it red.

    A defect is followed by the numbers of the assertions that it fails.
    """
    yield from _head(gate)
    yield from ("", "It passes if", "")
    claims = [f"{number}. {_line(one.that)}" for number, one in enumerate(gate.assert_, 1)]
    claims = _first(claims, _MOST_CLAIMS)
    yield from claims
    yield from ("", "It is known to fail when", "")
    known = [(defect.defect, set(defect.fails)) for defect in gate.falsified_by]
    known.append((SHAM, {one.that for one in gate.assert_ if one.killed_by_sham}))
    defects = [f"- {_line(what)} ({_numbers(gate, fails)})" for what, fails in known if fails]
    yield from _first(defects, MOST_LINES - _FRAME_LINES - len(claims))
    yield from ("", f"With its steps and its SQL: `python -m gates explain {gate.id} --full`")


def in_full(gate: Gate, target: Target) -> Iterator[str]:
    """All of it as lines of Markdown, without what stands nowhere in its file."""
    yield from _head(gate)
    started = ", ".join(gate.needs or target.processes)
    shared = " (on a stack that gates which only read share)" if gate.isolation == "shared" else ""
    alone = " Nothing else runs beside it." if gate.exclusive else ""
    yield f"\nIt starts {started} of target {target.target}{shared}.{alone}"
    for key, value in gate.config.items():
        yield f"It sets `{key}` to `{_shown(value)}`."
    yield "\n## First it makes sure"
    yield from _steps(gate.control, 0)
    yield "\n## Then it does"
    yield from _steps(gate.scenario, 0)
    yield "\n## It passes if"
    for number, assertion in enumerate(gate.assert_, 1):
        yield f"{number}. **{assertion.that}**: {_claim(assertion)}"
        yield f"   over `{assertion.from_}`, at least {assertion.at_least} rows (fewer is UNKNOWN)."
    for check in gate.host:
        yield f"\nIt is UNKNOWN, and run again, when the machine is too slow for this: **{check.that}**, {_claim(check)}"
        yield f"over `{check.from_}`, at least {check.at_least} rows."
    for name, named in gate.with_.items():
        source = f", a view of target {target.target}," if name in target.views else ""
        yield f"\n`{name}`{source} is, with at least {named.at_least} rows:\n\n```sql\n{named.query.strip()}\n```"
    yield from _fixed(gate)
    yield "\n## It is known to fail when"
    for defect in gate.falsified_by:
        yield f"- {defect.defect} (`{defect.file}`): {', '.join(defect.fails)}"
    for assertion in gate.assert_:
        if assertion.killed_by_sham:
            yield f"- {SHAM}: {assertion.that}"


def _head(gate: Gate) -> Iterator[str]:
    epic = f", epic {gate.epic}" if gate.epic else ""
    yield f"# {gate.id} {gate.gate}: {_line(gate.title)}"
    yield ""
    yield f"{gate.class_} gate{epic}. {_line(gate.why)}"


def _numbers(gate: Gate, names: Collection[str]) -> str:
    """Which of the assertions these are."""
    numbers = (number for number, one in enumerate(gate.assert_, 1) if one.that in names)
    return ", ".join(map(str, numbers))


def _line(text: str) -> str:
    """A sentence on one line."""
    return " ".join(text.split())


def _first(lines: list[str], most: int) -> list[str]:
    """So many of them, the last one saying how many are left out."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"- and {len(lines) - most + 1} more"]


def _claim(assertion: Assertion) -> str:
    if assertion.every is not None:
        return f"every row has `{assertion.every}`"
    if assertion.none is not None:
        return f"no row has `{assertion.none}`"
    what = (
        assertion.value
        if assertion.value is not None
        else f"the share of rows with {assertion.share}"
    )
    return f"`{what}` is `{assertion.is_}`"


def _fixed(gate: Gate) -> Iterator[str]:
    for name, rows in rows_by_name(gate).items():
        columns = dict.fromkeys(key for row in rows for key in row)
        yield f"\n`{name}` is a fixed table of {len(rows)} rows with {', '.join(columns)}."


def _steps(steps: list[Step], depth: int) -> Iterator[str]:
    for step in steps:
        at = f"at {step.at}: " if step.at is not None else ""
        options = "; ".join(_options(step))
        yield f"{'  ' * depth}- {at}**{KINDS[type(step)].name}** {options}".rstrip()
        for _, inner in children(step):
            yield from _steps(list(inner), depth + 1)


def _options(step: Step) -> Iterator[str]:
    """What the step is about, then everything that its author says of it besides."""
    kind = KINDS[type(step)]
    inner = {place.partition(".")[0] for place, _ in children(step)}
    left_out = {*inner, *kind.filled_in, "at", "defaults"}
    for key, value in sorted(_said(step), key=lambda said: said[0] != kind.name):
        if key in left_out:
            continue
        if value is True:
            yield key
        else:
            name = "" if key == kind.name else f"{key} "
            yield f"{name}`{_cut(_shown(value))}`"


def _said(struct: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """Keys of a Struct with their values, where they are not what they are by default."""
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        usual = field.default_factory() if callable(field.default_factory) else field.default
        if value != usual:
            yield field.encode_name, value


def _shown(value: object) -> str:
    """A value as one would write it in YAML, short."""
    if isinstance(value, Send):
        who = f" as {_shown(value.as_)}" if value.as_ is not None else ""
        return f"{' '.join(value.target())}{who}"
    if isinstance(value, msgspec.Struct):
        return ", ".join(f"{key} {_shown(item)}" for key, item in _said(value))
    plain = msgspec.to_builtins(value, enc_hook=str)
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ", ".join(map(_shown, value))
    if isinstance(plain, str):
        return plain
    return msgspec.json.encode(plain).decode()


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
