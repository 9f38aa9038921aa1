"""The last step of a release: its manifest, what is attested of it, and the signature."""

from pathlib import Path

import msgspec

from gates.release.manifest import ATTESTATION, SIGNED, write_manifest
from gates.release.report import Report
from gates.release.signing import IN_TOTO, read_private, sign
from gates.release.specs import Specs
from gates.release.statements import statement_of
from gates.release.stored import bytes_of
from gates.run.session import Session


def close(
    directory: Path, report: Report, session: Session, specs: Specs, key: Path | None
) -> None:
    """Write the manifest of all that is there, what is attested of it, and with a `key` its envelope."""
    write_manifest(directory, report.version)
    (directory / ATTESTATION).write_bytes(statement_of(directory, report, session, specs))
    if key is not None:
        sign_release(directory, key)


def sign_release(directory: Path, key: Path) -> None:
    """Sign what is attested, as it stands."""
    envelope = sign(bytes_of(directory / ATTESTATION), IN_TOTO, read_private(key))
    (directory / SIGNED).write_bytes(msgspec.json.encode(envelope) + b"\n")
