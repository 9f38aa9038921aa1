"""What is attested of a release: one in-toto Statement, computed from nothing but its directory.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, and the predicate test-result v0.1, to which the
verdict is added as a field of our own: who knows nothing of it ignores it, as the standard says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from chaos import regular
from gates.release import wheel
from gates.release.manifest import FILE
from gates.release.report import GateReport, LedgerReport, Report, Summary
from gates.release.specs import Specs
from gates.release.stored import written
from gates.run.session import Session

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"


class Resource(Struct, frozen=True, kw_only=True):
    """A ResourceDescriptor of in-toto: a name and its digests."""

    name: str
    digest: dict[str, str]


class WheelVerdict(Struct, frozen=True, kw_only=True):
    """The wheel, whether its content is the code that was run, and if not, why."""

    name: str | None
    sha256: str | None
    is_running_code: bool
    why: str | None


class ReleaseVerdict(Struct, frozen=True, kw_only=True):
    """What was decided, by which policy, upon what."""

    release: str
    verdict: str
    reason: str
    exit_code: int
    policy: dict[str, str]
    inputs: dict[str, str]
    manifest: dict[str, str]
    summary: Summary
    commit: str | None
    dirty: bool
    wheel: WheelVerdict
    session: str
    timestamp: str
    unproven: list[str]
    ledger: LedgerReport


class TestResult(Struct, frozen=True, kw_only=True, rename="camel"):
    """The predicate of in-toto's test-result. Gates are named by id and name, invariants by `invariant`.

    The result follows from the verdict and from nothing else. WARNED is a PASSED of which some gate was UNKNOWN at
    the same inputs before, and was allowed to be.
    """

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: list[Resource]
    passed_tests: list[str]
    warned_tests: list[str]
    failed_tests: list[str]
    release: ReleaseVerdict = msgspec.field(name="sonia_releaseVerdict")


class Statement(Struct, frozen=True, kw_only=True, rename="camel"):
    """A Statement of in-toto, version 1."""

    type_: str = msgspec.field(name="_type", default=STATEMENT)
    subject: list[Resource]
    predicate_type: str = TEST_RESULT
    predicate: TestResult


def statement_of(directory: Path, report: Report, session: Session, specs: Specs) -> bytes:
    """The Statement on what lies in a release directory, as it is written; its manifest must have been written."""
    own = wheel_verdict(directory, session, specs)
    manifest = regular.sha256(directory / FILE)
    result = _test_result(
        report, _verdict(report, own, manifest), needs_proofs=specs.release is not None
    )
    return written(Statement(subject=_subject(report, own, manifest), predicate=result)) + b"\n"


def wheel_verdict(directory: Path, session: Session, specs: Specs) -> WheelVerdict:
    """Whether the wheel's content is what was run: the same digest of the same folders."""
    build = wheel.build_of(directory)
    if build.wheel is None:
        return WheelVerdict(name=None, sha256=None, is_running_code=False, why=build.why)
    path = directory / wheel.FOLDER / build.wheel
    digest = wheel.source_digest(wheel.contents(path), specs.sources())
    same = digest == session.digests.get("source")
    return WheelVerdict(
        name=build.wheel,
        sha256=regular.sha256(path),
        is_running_code=same,
        why=None if same else "the wheel's source is not the source that was run",
    )


def _subject(report: Report, own: WheelVerdict, manifest: str) -> list[Resource]:
    """The commit, unless something else than it was run, and the wheel, unless it holds other code.

    Where neither can be named, the Statement is about the evidence alone.
    """
    subject = []
    if report.commit is not None and not report.dirty:
        subject.append(Resource(name="source", digest={"gitCommit": report.commit}))
    if own.is_running_code and own.name is not None and own.sha256 is not None:
        subject.append(Resource(name=own.name, digest={"sha256": own.sha256}))
    return subject or [Resource(name=FILE, digest={"sha256": manifest})]


def _test_result(report: Report, verdict: ReleaseVerdict, *, needs_proofs: bool) -> TestResult:
    passed = [gate for gate in report.gates if _counts(gate, needs_proofs=needs_proofs)]
    failed = [_named(gate) for gate in report.gates if gate not in passed]
    failed += [f"invariant {one.id}" for one in report.invariants if one.holds is not True]
    promoted = report.verdict == "PROMOTE"
    assert not (promoted and failed), "what is promoted has nothing that failed"
    # What was measured at the second or third try is said so.
    warned = [_named(gate) for gate in passed if gate.attempts]
    return TestResult(
        result=("WARNED" if warned else "PASSED") if promoted else "FAILED",
        configuration=[
            Resource(name=name, digest={"sha256": digest})
            for name, digest in _configuration(report).items()
        ],
        passed_tests=[
            *(_named(gate) for gate in passed if not gate.attempts),
            *(f"invariant {one.id}" for one in report.invariants if one.holds is True),
        ],
        warned_tests=warned,
        failed_tests=failed,
        release=verdict,
    )


def _counts(gate: GateReport, *, needs_proofs: bool) -> bool:
    """Whether a gate has passed for those who read no more than this; in a release one that is unproven has not."""
    return gate.status == "PASS" and (gate.proven is True or not needs_proofs)


def _named(gate: GateReport) -> str:
    return f"{gate.id} {gate.name}"


def _configuration(report: Report) -> Mapping[str, str]:
    return {name: digest for name, digest in sorted(report.inputs.items()) if digest}


def _verdict(report: Report, own: WheelVerdict, manifest: str) -> ReleaseVerdict:
    return ReleaseVerdict(
        release=report.version,
        verdict=report.verdict,
        reason=report.reason,
        exit_code=report.exit_code,
        policy={"sha256": report.inputs.get("release", "")},
        inputs=report.inputs,
        manifest={"sha256": manifest},
        summary=report.summary,
        commit=report.commit,
        dirty=report.dirty,
        wheel=own,
        session=report.session,
        timestamp=report.timestamp,
        unproven=[_named(gate) for gate in report.gates if gate.proven is not True],
        ledger=report.ledger,
    )
