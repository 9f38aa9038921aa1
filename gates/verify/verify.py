"""Whether a release is what it says: its files, its evidence, its verdicts, its proofs, and who stands for it.

Nothing is needed but the release directory. What must come from outside is what it cannot say of itself: the
commit, the policy and the public key that a reader expects.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from chaos import regular
from chaos.errors import told
from gates.release import ledger, rendered
from gates.release.manifest import (
    ATTESTATION,
    SIGNED,
    Flaw,
    Manifest,
    flaws,
    irregular,
    read_manifest,
)
from gates.release.proofs import FOLDER as PROOFS
from gates.release.proofs import stored_proofs
from gates.release.rejudge import rejudge
from gates.release.report import Report
from gates.release.signing import IN_TOTO, envelope_in, opened, payload_of
from gates.release.specs import RELEASE, spec_flaws
from gates.release.stages import Judgement
from gates.release.statements import statement_of
from gates.release.stored import bytes_of
from gates.verify import evidence as evidence_checks


class Expected(Struct, frozen=True, kw_only=True):
    """What is known from outside: a commit, the digest of `release.yaml`, a public key, a ledger; None where it is not."""

    commit: str | None = None
    policy: str | None = None
    key: Ed25519PublicKey | None = None
    ledger: Path | None = None


class Verification(Struct, frozen=True, kw_only=True):
    """What was found. `authenticated` names what was given from outside and holds, `assumed` what was not given."""

    release: str
    verdict: str
    reason: str
    flaws: list[Flaw]
    authenticated: list[str]
    assumed: list[str]
    manifest_sha256: str
    ledger_head: str

    @property
    def consistent(self) -> bool:
        """Whether nothing is wrong with the release."""
        return not self.flaws

    @property
    def summary(self) -> str:
        """What may be relied on, in one line."""
        if self.flaws:
            return "not verified"
        if not self.authenticated:
            return "consistent, not authenticated"
        held = f"consistent, and authenticated by {', '.join(self.authenticated)}"
        return f"{held}; not by {', '.join(self.assumed)}" if self.assumed else held


def verify(directory: Path, expected: Expected) -> Verification:
    """Check everything. HarnessError when there is no release with a manifest to be read at all."""
    manifest = read_manifest(directory)
    found = list(irregular(directory))
    if found:
        # Whatever opens one of these may be led elsewhere, or wait for ever.
        return _unread(directory, manifest, found)
    found = list(_precise(directory, flaws(directory, manifest)))
    again: Report | None = None
    try:
        judgement, differences = rejudge(directory)
    except Exception as error:  # noqa: BLE001 - whatever was put there, verifying it must come to an end
        found.append(Flaw(path="gate-report.json", problem=f"cannot be recomputed: {told(error)}"))
    else:
        again = judgement.report
        found += [Flaw(path="gate-report.json", problem=text) for text in differences]
        found += _guarded(_checks(directory, manifest, judgement))
    outside, authenticated = _authenticated(directory, expected, again)
    names = Expected.__struct_fields__
    return Verification(
        release=manifest.release,
        verdict=again.verdict if again is not None else "HOLD",
        reason=again.reason if again is not None else "its verdict cannot be recomputed",
        flaws=[*found, *outside],
        authenticated=authenticated,
        assumed=[name for name in names if getattr(expected, name) is None],
        manifest_sha256=regular.sha256(directory / "manifest.json"),
        ledger_head=again.ledger.head if again is not None else "",
    )


def _unread(directory: Path, manifest: Manifest, found: list[Flaw]) -> Verification:
    """Of a release that holds more than files, nothing else is looked at."""
    return Verification(
        release=manifest.release,
        verdict="HOLD",
        reason="it was not read: a release holds regular files only",
        flaws=found,
        authenticated=[],
        assumed=list(Expected.__struct_fields__),
        manifest_sha256=regular.sha256(directory / "manifest.json"),
        ledger_head="",
    )


def _checks(
    directory: Path, manifest: Manifest, found: Judgement
) -> Iterator[Callable[[], Iterable[Flaw]]]:
    """Every check of its own that the recomputed release allows."""
    shipped = found.shipped
    yield lambda: _release_named(manifest, found.report)
    yield lambda: evidence_checks.schema_flaws(found.evidence, "evidence")
    yield lambda: spec_flaws(shipped.specs, shipped.session, found.evidence)
    yield lambda: _proof_flaws(directory, found)
    yield lambda: rendered.flaws(directory, found)
    yield lambda: _statement_flaws(directory, found)


def _guarded(checks: Iterable[Callable[[], Iterable[Flaw]]]) -> Iterator[Flaw]:
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 - a check that breaks has not been passed
            yield Flaw(path=".", problem=f"a check could not be carried out: {told(error)}")


def _precise(directory: Path, found: Iterable[Flaw]) -> Iterator[Flaw]:
    """The same, and of each changed table, which rows of which gates are not those that were sealed."""
    altered = evidence_checks.AlteredRows(directory)
    for flaw in found:
        path = Path(flaw.path)
        if path.suffix != ".parquet" or not flaw.problem.startswith("changed"):
            yield flaw
            continue
        try:
            where = altered.told(path)
        except Exception as error:  # noqa: BLE001 - the file itself is named in any case
            where = f"it cannot be looked into: {told(error)}"
        yield Flaw(path=flaw.path, problem=f"{flaw.problem}; {where}")


def _release_named(manifest: Manifest, report: Report) -> Iterator[Flaw]:
    if manifest.release != report.version:
        yield Flaw(
            path="manifest.json", problem=f"it is of {manifest.release}, not {report.version}"
        )


def _proof_flaws(directory: Path, found: Judgement) -> Iterator[Flaw]:
    if found.proof_evidence is None:
        return
    stored = stored_proofs(directory)
    session = found.shipped.session
    if stored.session != session.id:
        problem = f"it is of session {stored.session}, not {session.id}"
        yield Flaw(path=f"{PROOFS}/proofs.json", problem=problem)
    yield from evidence_checks.schema_flaws(found.proof_evidence, f"{PROOFS}/evidence")


def _statement_flaws(directory: Path, found: Judgement) -> Iterator[Flaw]:
    """What is attested, and what of it was signed, whoever signed it."""
    shipped = found.shipped
    content = statement_of(directory, found.report, shipped.session, shipped.specs)
    path = directory / ATTESTATION
    if not path.exists():
        yield Flaw(path=ATTESTATION, problem="missing")
    elif bytes_of(path) != content:
        yield Flaw(path=ATTESTATION, problem="it is not what follows from the release")
    if not (directory / SIGNED).exists():
        return
    try:
        signed = payload_of(envelope_in(directory / SIGNED), IN_TOTO)
    except ValueError as error:
        yield Flaw(path=SIGNED, problem=str(error))
        return
    if signed != content:
        yield Flaw(path=SIGNED, problem="what is signed is not what follows from the release")


def _authenticated(
    directory: Path, expected: Expected, report: Report | None
) -> tuple[list[Flaw], list[str]]:
    """What of that which was given from outside does not hold, and what does."""
    wrong: list[Flaw] = []
    checks: tuple[tuple[str, object, Callable[[], Iterable[Flaw]]], ...] = (
        ("commit", expected.commit, lambda: _commit_flaws(expected.commit, report)),
        ("policy", expected.policy, lambda: _policy_flaws(expected.policy, report)),
        ("key", expected.key, lambda: _signature_flaws(directory, expected.key)),
        ("ledger", expected.ledger, lambda: _ledger_flaws(directory, expected.ledger, report)),
    )
    held = []
    for name, given, check in checks:
        if given is not None:
            flawed = list(check())
            wrong += flawed
            held += [] if flawed else [name]
    return wrong, held


def _commit_flaws(commit: str | None, report: Report | None) -> Iterator[Flaw]:
    if report is None or report.commit != commit:
        said = report.commit if report is not None else None
        yield Flaw(path="session.json", problem=f"it is of commit {said}, not {commit}")
    elif report.dirty:
        yield Flaw(path="session.json", problem=f"what was run is not what {commit} says")


def _policy_flaws(policy: str | None, report: Report | None) -> Iterator[Flaw]:
    said = report.inputs.get("release") if report is not None else None
    if said != policy:
        yield Flaw(path=RELEASE, problem=f"the policy is {said}, not {policy}")


def _signature_flaws(directory: Path, key: Ed25519PublicKey | None) -> Iterator[Flaw]:
    """What is attested, as it lies in the directory, is what this key signed."""
    if key is None:
        return
    if not (directory / SIGNED).is_file():
        yield Flaw(path=SIGNED, problem="the release is not signed")
        return
    try:
        payload = opened(envelope_in(directory / SIGNED), IN_TOTO, key)
        said = bytes_of(directory / ATTESTATION)
    except (OSError, ValueError) as error:
        yield Flaw(path=SIGNED, problem=str(error))
        return
    if payload != said:
        yield Flaw(path=SIGNED, problem="what is signed is not what the release says")


def _ledger_flaws(directory: Path, path: Path | None, report: Report | None) -> Iterator[Flaw]:
    """The release rests on this ledger, which has its outcome, and no later run at the same inputs failed."""
    if path is None or report is None:
        return
    shipped = ledger.lines_of(directory / ledger.FILE)
    if not shipped or ledger.lines_of(path)[: len(shipped)] != shipped:
        yield Flaw(path=ledger.FILE, problem=f"the release does not rest on {path}")
        return
    kept = ledger.read(path)
    for problem in kept.problems:
        yield Flaw(path=str(path), problem=problem)
    attempts = ledger.outcomes(kept.entries)
    place = [attempt.session for attempt, _ in attempts].index(report.session)
    own, outcome = attempts[place]
    statuses = {gate.name: gate.status for gate in report.gates}
    if outcome is None or dict(outcome.statuses) != statuses:
        yield Flaw(path=str(path), problem=f"it does not say what came of {report.session}")
    for gate in ledger.past_of(own, attempts[place + 1 :], statuses).flaky:
        yield Flaw(path=str(path), problem=f"{gate} failed in a later run at the same inputs")
