"""Makes a gate of an incident: it replays the bundle and asserts that the same is decided.

What is written is a directory of specs of its own, like specs/examples: a target whose source contains the bundles, so that
copies with defects hold them too, and a gate for each bundle. Defects are those of a list that this bundle's requests meet.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from chaos.errors import HarnessError
from gates.incidents.analysis import Analysis, Limits, analysing
from gates.incidents.bundle import LINES, Bundle
from gates.incidents.similar import shapes
from gates.spec.project import Project

MOST_BYTES: Final = 32 * 2**20
"""More takes longer to replay than a gate should."""
BUNDLES: Final = "bundles"
TARGET: Final = "incidents"
NEEDS: Final = ("requests", "decisions", "inputs")

_OMITTED: Final = "json_extract(envelope, '$.omitted_bytes') IS NOT NULL"
"""What was too long to be recorded is not replayed."""

_TARGET: Final = """\
# yaml-language-server: $schema={schema}
target: {target}
title: SONIA, and the incidents that it decides about again
source: [service, {bundles}]
prepare:
  - run: "{{python}} -m service init --state {{state}} --json"
    capture: {{token.operator: $.operator, token.observer: $.observer}}
redact:
  # Any token of the product.
  - "[A-Za-z0-9_-]{{3,40}}\\\\.([A-Za-z0-9_-]{{42}}(?:[A-Za-z0-9_]\\\\b|-\\\\B))"
processes:
  gateway:
    run: "{{python}} -m service run gateway"
    port: 7000
    ready: GET /readyz
    env: {{SONIA_STATE: "{{state}}", SONIA_GATEWAY_PORT: "{{port.gateway}}"}}
default: gateway
"""
_GATE: Final = """\
# yaml-language-server: $schema={schema}
gate: {name}
id: {id}
class: delta
epic: {epic}
title: {title}
why: {why}
target: {target}
needs: [gateway]
guards: [service/replay.py, service/reliability/replaying.py]
data:
  # The trace classes of the incident, with what was decided in each.
  recorded:
{recorded}
control:
  - {{request: {{get: /healthz}}, expect: {{status: 200}}}}
scenario:
  - {{name: replayed, run: "{{python}} -m service replay {{root}}/{bundle} --json", within: 60s, expect: {{exit: present}}}}
with:
  classes:                           # each class with how many requests had it then, and have it now
    at_least: {classes}
    query: |
      with now as (
        select key as trace_class, cast(json_extract_string(output, '$.classes.' || key) as BIGINT) as requests
        from (select output, unnest(json_keys(output, '$.classes')) as key from commands where step = 'replayed')
      )
      select coalesce(r.trace_class, n.trace_class) as trace_class, r.requests as recorded, n.requests as replayed
      from recorded r full join now n on n.trace_class = r.trace_class
assert:
  - that: every request of the incident is decided as it was recorded
    from: commands where step = 'replayed'
    at_least: 1
    every: '"exit" = 0 and output->>''$.same'' = ''{requests}'' and json_array_length(output, ''$.diverging'') = 0'
  - that: the trace classes are those of the incident
    from: classes
    at_least: {classes}
    every: recorded is not null and replayed = recorded
falsified_by:
{defects}"""


class _Defect(Struct, frozen=True):
    """A mistake that turns the replay of a bundle red which has rows of `meets`."""

    what: str
    file: str
    definition: str
    replace: str
    instead: str
    meets: str


_DEFECTS: Final = (
    _Defect(
        "the last stage is left out of what was decided",
        "service/replay.py",
        "again",
        "for each in trace.stages]",
        "for each in trace.stages[:-1]]",
        f"SELECT 1 FROM requests WHERE NOT ({_OMITTED})",
    ),
    _Defect(
        "a dependency is asked while its breaker is open, and not while it is closed",
        "service/domain/turns/pipeline.py",
        "_consult",
        "if not lets_through(breaker):",
        "if lets_through(breaker):",
        "SELECT 1 FROM inputs WHERE stage IN ('memory', 'model') AND kind = 'breaker'",
    ),
    _Defect(
        "a role is let in where it is not enough, and only there",
        "service/http/guards.py",
        "authorize",
        "if not permits(actor.role, required):",
        "if permits(actor.role, required):",
        "SELECT 1 FROM decisions AS d JOIN requests AS r ON r.request_id = d.request_id"
        " WHERE d.stage = 'authorize' AND r.kind = 'http'",
    ),
)
_FAILS: Final = (
    "[every request of the incident is decided as it was recorded,"
    " the trace classes are those of the incident]"
)


def write_gate(bundle: Bundle, directory: Path, project: Project, limits: Limits) -> Path:
    """Write the gate below `directory`, with a copy of the bundle, and the target where there is none yet.

    `project` is what is in the directory already. Raises HarnessError where it cannot be a gate, or is one already.
    """
    name = gate_name(bundle)
    path, copy = directory / "gates" / f"{name}.yaml", directory / BUNDLES / name
    _raise_unfit(bundle, path, copy, project.root)
    with analysing({"": [bundle]}, (), limits, NEEDS) as analysis:
        text = _gate(bundle, name, path, copy, project, analysis)
    shutil.copytree(bundle.directory, copy)
    target = directory / "targets" / f"{TARGET}.yaml"
    if not target.exists():
        bundles = copy.parent.resolve().relative_to(project.root)
        content = _TARGET.format(
            schema=_schema(project.root, target, "target"), target=TARGET, bundles=bundles
        )
        _write(target, content)
    _write(path, text)
    return path


def gate_name(bundle: Bundle) -> str:
    """What the gate of a bundle is called: `incident-` and its id in small letters, digits and hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", bundle.name.lower()).strip("-")
    return f"incident-{plain}"[:80].rstrip("-")


def _raise_unfit(bundle: Bundle, path: Path, copy: Path, root: Path) -> None:
    for taken in (path, copy):
        if taken.exists():
            raise HarnessError(f"{taken} is there already")
    if not copy.resolve().is_relative_to(root) or not (root / "service").is_dir():
        raise HarnessError(
            f"{copy.parent} does not lie in the project of SONIA: its gates run what is beside it"
        )
    if any(source.suffix != LINES for source in bundle.sources.values()):
        raise HarnessError(
            f"{bundle.directory} is packed: make a gate of the bundle that it was made of"
        )
    size = sum(sealed.bytes for sealed in bundle.manifest.files.values())
    if size > MOST_BYTES:
        raise HarnessError(
            f"{bundle.directory} has {size:,} bytes, and a gate replays at most {MOST_BYTES:,}:"
            " export a shorter time"
        )


def _gate(
    bundle: Bundle, name: str, path: Path, copy: Path, project: Project, analysis: Analysis
) -> str:
    own = shapes(analysis, f"requests WHERE NOT ({_OMITTED})")
    if not own:
        raise HarnessError(f"{bundle.directory} has no request that can be replayed")
    recorded = [
        f"    - {{trace_class: {shape.trace_class}, requests: {shape.requests}}}   # {_told(shape.stages)}"
        for shape in own
    ]
    taken = {gate.id for gate in project.gates.values()}
    return _GATE.format(
        schema=_schema(project.root, path, "gate"),
        name=name,
        id=next(id_ for n in range(1, len(taken) + 2) if (id_ := f"I{n}") not in taken),
        epic="I",
        title=_text(f"SONIA decides about incident {bundle.name} as it did"),
        why=_text(f"The incident {bundle.name} ({bundle.manifest.reason})"),
        target=TARGET,
        recorded="\n".join(recorded),
        bundle=copy.resolve().relative_to(project.root),
        classes=len(own),
        requests=sum(shape.requests for shape in own),
        defects="".join(_defects(analysis)),
    )


def _told(stages: Sequence[tuple[str, str, str]]) -> str:
    """What was decided, in words that a comment may hold."""
    told = ", ".join(f"{stage} {decision}" for stage, decision, _ in stages)
    return re.sub(r"[^\w ,-]", "?", told)


def _defects(analysis: Analysis) -> Iterator[str]:
    for defect in _DEFECTS:
        if analysis.rows(f"{defect.meets} LIMIT 1"):
            yield (
                f"  - defect: {_text(defect.what)}\n"
                f"    file: {defect.file}\n"
                f"    in: {defect.definition}\n"
                f"    replace: {_text(defect.replace)}\n"
                f"    with: {_text(defect.instead)}\n"
                f"    fails: {_FAILS}\n"
            )


def _text(text: str) -> str:
    """A text as YAML has it, whatever is in it."""
    return msgspec.json.encode(text).decode()


def _schema(root: Path, path: Path, kind: str) -> str:
    return os.path.relpath(root / "specs" / "schema" / f"{kind}.schema.json", path.parent.resolve())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
