"""Waivers: signed wishes to ship in spite of a gate. They are verified and shown, and change no verdict."""

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE
from gates.release.report import WaiverReport
from gates.release.signing import Envelope, opened, public_from_text

FOLDER = "waivers"
PAYLOAD_TYPE = "application/vnd.sonia-release-harness.waiver+json"


class Waiver(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which gate, of which release, why, by whom, and until which day (UTC, inclusive)."""

    gate: str
    release: str
    reason: str
    by: str
    expires: dt.date


def ship(specs: Path, release: Path) -> None:
    """Copy what is in `specs/waivers` into the release."""
    files = sorted((specs / FOLDER).glob("*.json"))
    if files:
        (release / FOLDER).mkdir()
    for path in files:
        shutil.copyfile(path, release / FOLDER / path.name)


def read(directory: Path, release: str, keys: Sequence[str], at_ms: float) -> list[WaiverReport]:
    """Every waiver of a release directory, as of the time that the release was run at."""
    today = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).date()
    return [
        _report(path, release, keys, today) for path in sorted((directory / FOLDER).glob("*.json"))
    ]


def _report(path: Path, release: str, keys: Sequence[str], today: dt.date) -> WaiverReport:
    try:
        waiver = _opened(path, keys)
    except (OSError, ValueError, *UNREADABLE) as error:
        return WaiverReport(
            file=path.name, gate="", reason="", by="", expires="", valid=False, why=str(error)
        )
    why = None
    if waiver.release != release:
        why = f"it is for {waiver.release}"
    elif today > waiver.expires:
        why = "it has expired"
    return WaiverReport(
        file=path.name,
        gate=waiver.gate,
        reason=waiver.reason,
        by=waiver.by,
        expires=waiver.expires.isoformat(),
        valid=why is None,
        why=why,
    )


def _opened(path: Path, keys: Sequence[str]) -> Waiver:
    """The waiver in a file that one of these keys signed; ValueError when none did."""
    envelope = msgspec.json.decode(regular.read(path), type=Envelope)
    for text in keys:
        try:
            payload = opened(envelope, PAYLOAD_TYPE, public_from_text(text))
        except ValueError:
            continue
        return msgspec.json.decode(payload, type=Waiver)
    raise ValueError("it is signed by none of the release's keys")
