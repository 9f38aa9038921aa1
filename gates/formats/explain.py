"""A gate in prose: what it starts, what it does, what must be true, and with which SQL."""

from collections.abc import Iterator
from typing import Final

import msgspec

from chaos.engine.plan import children
from chaos.spec.step import Send, Step
from chaos.spec.target import Target
from chaos.steps import KINDS
from gates.spec.assertion import Assertion
from gates.spec.gate import Gate
from gates.spec.snapshot import rows_by_name

MOST_CHARACTERS: Final = 160


def explain(gate: Gate, target: Target) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"# {gate.id} {gate.gate}: {gate.title}"
    yield f"\n{gate.class_} gate, epic {gate.epic or '-'}. {gate.why}"
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
            yield f"- its faults are only pretended: {assertion.that}"


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
        kind = KINDS[type(step)].name
        at = f"at {step.at}: " if step.at is not None else ""
        yield f"{'  ' * depth}- {at}**{kind}** {'; '.join(_options(step, kind))}"
        for _, inner in children(step):
            yield from _steps(list(inner), depth + 1)


def _options(step: Step, kind: str) -> Iterator[str]:
    """What the step is about, then everything in which it is not as a step is by default."""
    inner = {place.partition(".")[0] for place, _ in children(step)}
    fields = sorted(msgspec.structs.fields(step), key=lambda field: field.encode_name != kind)
    for field in fields:
        value = getattr(step, field.name)
        usual = field.default_factory() if callable(field.default_factory) else field.default
        if field.name in inner or field.encode_name in ("at", "defaults") or value == usual:
            continue
        if value is True:
            yield field.encode_name
        else:
            name = "" if field.encode_name == kind else f"{field.encode_name} "
            yield f"{name}`{_cut(_shown(value))}`"


def _shown(value: object) -> str:
    """A value as one would write it in YAML, short."""
    if isinstance(value, Send):
        who = f" as {_shown(value.as_)}" if value.as_ is not None else ""
        return f"{' '.join(value.target())}{who}"
    plain = msgspec.to_builtins(value, enc_hook=str)
    if isinstance(value, msgspec.Struct):
        plain = {name: item for name, item in plain.items() if item not in (None, {}, [])}
        return ", ".join(f"{name} {_shown(item)}" for name, item in plain.items())
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ", ".join(map(_shown, value))
    if isinstance(plain, str):
        return plain
    return msgspec.json.encode(plain).decode()


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
