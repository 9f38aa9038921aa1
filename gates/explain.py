"""A gate in prose: what it starts, what it does, what must be true, and with which SQL."""

from collections.abc import Iterator

import msgspec

from chaos.engine.plan import children
from chaos.spec.step import Send, Step
from chaos.spec.target import Target
from chaos.steps import KINDS
from gates.spec.assertion import Assertion
from gates.spec.gate import Gate


def explain(gate: Gate, target: Target) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"# {gate.id} {gate.gate}: {gate.title}"
    yield f"\n{gate.class_} gate, epic {gate.epic or '-'}. {gate.why}"
    started = ", ".join(gate.needs or target.processes)
    shared = " (on a stack that gates which only read share)" if gate.isolation == "shared" else ""
    alone = " Nothing else runs beside it." if gate.exclusive else ""
    yield f"\nIt starts {started} of target {target.target}{shared}.{alone}"
    for key, value in gate.config.items():
        yield f"It sets `{key}` to `{value}`."
    yield "\n## First it makes sure"
    yield from _steps(gate.control, 0)
    yield "\n## Then it does"
    yield from _steps(gate.scenario, 0)
    yield "\n## It passes if"
    for number, assertion in enumerate(gate.assert_, 1):
        yield f"{number}. **{assertion.that}**: {_claim(assertion)}"
        yield f"   over `{assertion.from_}`, at least {assertion.at_least} rows (fewer is UNKNOWN)."
    for name, named in gate.with_.items():
        source = f", a view of target {target.target}," if name in target.views else ""
        yield f"\n`{name}`{source} is, with at least {named.at_least} rows:\n\n```sql\n{named.query.strip()}\n```"
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


def _steps(steps: list[Step], depth: int) -> Iterator[str]:
    for step in steps:
        kind = KINDS[type(step)].name
        options = [f"{name} {value}" for name, value in _options(step, kind)]
        at = f"at {step.at}: " if step.at is not None else ""
        yield f"{'  ' * depth}- {at}**{kind}** {'; '.join(options)}"
        for _, inner in children(step):
            yield from _steps(list(inner), depth + 1)


def _options(step: Step, kind: str) -> Iterator[tuple[str, str]]:
    inner = {place.partition(".")[0] for place, _ in children(step)}
    for field in msgspec.structs.fields(step):
        value = getattr(step, field.name)
        if field.name in inner or field.name == "at" or value in (None, [], {}, False):
            continue
        shown = _shown(value)
        yield ("" if field.encode_name == kind else field.encode_name), f"`{shown}`"


def _shown(value: object) -> str:
    if isinstance(value, Send):
        return " ".join(value.target())
    if isinstance(value, msgspec.Struct):
        fields = {
            name: item
            for name, item in msgspec.to_builtins(value, enc_hook=str).items()
            if item is not None
        }
        return ", ".join(f"{name} {item}" for name, item in fields.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)
