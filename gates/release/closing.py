"""The last step of a release: its manifest, what is attested of it, and the signature."""

from pathlib import Path

import msgspec

from chaos import regular
from gates.release.manifest import ATTESTATION, SIGNED, VERDICT, write_manifest
from gates.release.report import Report
from gates.release.signing import IN_TOTO, read_private, sign
from gates.release.specs import Specs
from gates.release.statements import statements_of
from gates.run.session import Session


def close(
    directory: Path, report: Report, session: Session, specs: Specs, key: Path | None
) -> None:
    """Write the manifest of all that is there, both Statements, and with a `key` their envelopes."""
    write_manifest(directory, report.version)
    statements = statements_of(directory, report, session, specs)
    (directory / ATTESTATION).write_bytes(statements.test_result)
    (directory / VERDICT).write_bytes(statements.verdict)
    if key is not None:
        sign_release(directory, key)


def sign_release(directory: Path, key: Path) -> None:
    """Sign what is attested, as it stands: one envelope a line, in the order of the Statements."""
    private = read_private(key)
    payloads = [regular.read(directory / name) for name in (ATTESTATION, VERDICT)]
    lines = [msgspec.json.encode(sign(payload, IN_TOTO, private)) for payload in payloads]
    (directory / SIGNED).write_bytes(b"\n".join(lines) + b"\n")
