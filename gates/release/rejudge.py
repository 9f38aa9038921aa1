"""All of a release computed again, and in what its report differs from the one that is there."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gates.release.report import GateReport, Report, yaml_name
from gates.release.stages import Judgement, judge_directory
from gates.release.stored import REPORT, bytes_of, stored_report, written


def rejudge(directory: Path) -> tuple[Judgement, list[str]]:
    """What it comes to, and the differences, a sentence each."""
    again = judge_directory(directory)
    differences = list(_differences(stored_report(directory), again.report))
    if not differences and bytes_of(directory / REPORT) != written(again.report):
        differences = ["it is not as it was written, something in it means nothing"]
    return again, differences


def _differences(stored: Report, again: Report) -> Iterator[str]:
    for field in Report.__struct_fields__:
        if field == "gates":
            yield from _gate_differences(stored.gates, again.gates)
        else:
            parts = (msgspec.to_builtins(getattr(report, field)) for report in (stored, again))
            yield from _part_differences(field, *parts)


def _part_differences(where: str, before: object, after: object) -> Iterator[str]:
    """Only what differs inside of mappings and lists; an element of a list is named by its `id` where it has one."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key, value in after.items():
            yield from _part_differences(f"{where}.{key}", before[key], value)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            name = other.get("id", index) if isinstance(other, dict) else index
            yield from _part_differences(f"{where}.{name}", one, other)
    elif before != after:
        yield f"{where} is {after!r}, the report says {before!r}"


def _gate_differences(stored: Sequence[GateReport], again: Sequence[GateReport]) -> Iterator[str]:
    names = [[gate.name for gate in gates] for gates in (stored, again)]
    if names[0] != names[1]:
        yield f"the gates are {', '.join(names[1])}, the report has {', '.join(names[0])}"
        return
    for before, after in zip(stored, again, strict=True):
        differing = [
            field
            for field in GateReport.__struct_fields__
            if msgspec.json.encode(getattr(before, field))
            != msgspec.json.encode(getattr(after, field))
        ]
        if "status" in differing:
            yield (
                f"{after.id} {after.name} is {after.status} ({after.detail}),"
                f" the report says {before.status}"
            )
        elif "unproven" in differing:
            yield f"{after.id} {after.name} is {_state(after)}, the report says {_state(before)}"
        elif differing:
            what = ", ".join(map(yaml_name, differing))
            yield f"{after.id} {after.name}: the report says something else of {what}"


def _state(gate: GateReport) -> str:
    return "proven" if gate.proven else f"unproven: {gate.unproven}"
