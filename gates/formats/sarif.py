"""SARIF 2.1.0: a rule per gate and invariant, a result per finding.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gates.formats.findings import BESIDE, Finding, Severity, findings
from gates.formats.places import At, Places
from gates.release.report import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
TOOL = "sonia-release-harness"
ROOT = "SRCROOT"
"""The base of all paths: whoever reads the log knows where the repository lies."""


class _Sarif(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Objects as the standard names their properties."""


class _Message(_Sarif, frozen=True, kw_only=True):
    text: str


class _Default(_Sarif, frozen=True, kw_only=True):
    level: Severity


class _Rule(_Sarif, frozen=True, kw_only=True):
    id: str
    name: str
    short_description: _Message
    help: _Message
    default_configuration: _Default


class _Driver(_Sarif, frozen=True, kw_only=True):
    name: str
    semantic_version: str | UnsetType
    rules: list[_Rule]


class _Tool(_Sarif, frozen=True, kw_only=True):
    driver: _Driver


class _Artifact(_Sarif, frozen=True, kw_only=True):
    uri: str
    uri_base_id: str


class _Region(_Sarif, frozen=True, kw_only=True):
    start_line: int


class _Physical(_Sarif, frozen=True, kw_only=True):
    artifact_location: _Artifact
    region: _Region


class _Location(_Sarif, frozen=True, kw_only=True):
    physical_location: _Physical


class _Result(_Sarif, frozen=True, kw_only=True):
    rule_id: str
    rule_index: int
    level: Severity
    message: _Message
    locations: list[_Location]
    partial_fingerprints: dict[str, str]


class _Invocation(_Sarif, frozen=True, kw_only=True):
    execution_successful: bool
    exit_code: int
    start_time_utc: str


class _Automation(_Sarif, frozen=True, kw_only=True):
    id: str


class _Run(_Sarif, frozen=True, kw_only=True):
    tool: _Tool
    invocations: list[_Invocation]
    automation_details: _Automation
    results: list[_Result]
    properties: dict[str, object]


class _Log(Struct, frozen=True, kw_only=True, rename={"schema": "$schema"}):
    schema: str
    version: str
    runs: list[_Run]


def render(report: Report, places: Places, version: str | None) -> bytes:
    """The log as JSON. `version` is that of the harness.

    Every result is of the kind `fail`, since each holds the release; what was not measured is a warning.
    Passing gates give none: viewers show every result as something to be mended.
    """
    found = findings(report)
    rules = _rules(report)
    index = {rule.id: number for number, rule in enumerate(rules)}
    run = _Run(
        tool=_Tool(
            driver=_Driver(name=TOOL, semantic_version=version or UNSET, rules=rules),
        ),
        invocations=[
            _Invocation(
                execution_successful=True,
                exit_code=report.exit_code,
                start_time_utc=report.timestamp.replace("+00:00", "Z"),
            )
        ],
        automation_details=_Automation(id=f"gates/{report.version}/{report.session}"),
        results=[_result(finding, index[finding.rule], places) for finding in found],
        properties={
            "verdict": report.verdict,
            "reason": report.reason,
            "commit": report.commit,
            "dirty": report.dirty,
        },
    )
    log = _Log(schema=SCHEMA, version="2.1.0", runs=[run])
    return msgspec.json.format(msgspec.json.encode(log))


def _rules(report: Report) -> list[_Rule]:
    rules = {
        gate.id: _rule(gate.id, gate.name, gate.title or gate.name, f"Run it again: {gate.rerun}")
        for gate in report.gates
    }
    if report.beside:
        said = "What keeps a release from being promoted beside its gates"
        rules[BESIDE] = _rule(BESIDE, BESIDE, said, said)
    for invariant in report.invariants:
        key = f"invariant/{invariant.id}"
        rules[key] = _rule(key, invariant.id, invariant.statement, invariant.statement)
    return list(rules.values())


def _rule(key: str, name: str, title: str, hint: str) -> _Rule:
    return _Rule(
        id=key,
        name=name,
        short_description=_Message(text=title),
        help=_Message(text=hint),
        default_configuration=_Default(level="error"),
    )


def _result(finding: Finding, rule_index: int, places: Places) -> _Result:
    return _Result(
        rule_id=finding.rule,
        rule_index=rule_index,
        level=finding.severity,
        message=_Message(text=finding.message or finding.title),
        locations=list(_locations(places.of(finding.gate or "", finding.that))),
        partial_fingerprints={"assertion/v1": _fingerprint([finding.rule, finding.that or ""])},
    )


def _locations(at: At | None) -> Iterator[_Location]:
    """Where it is written; none where these specs are not at hand."""
    if at is not None:
        artifact = _Artifact(uri=at.file, uri_base_id=ROOT)
        physical = _Physical(artifact_location=artifact, region=_Region(start_line=at.line))
        yield _Location(physical_location=physical)


def _fingerprint(parts: Sequence[str]) -> str:
    """The same for the same assertion, wherever it stands and whatever it measured."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
