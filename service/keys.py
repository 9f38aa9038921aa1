"""Key material, in files of mode 0600, and every reason not to start with it.

`keys.json` holds the SHA-256 of the bootstrap tokens' secrets and the key of the audit chain; nobody but the gateway and
the commands reads it. `keys.<process>.json` holds the keys by which that process and the gateway know each other.
Neither holds a bootstrap secret.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from service.errors import RESTORE, StartRefused
from service.files import replace, write_new
from service.trust import check_private

FORMAT: Final = 2
KEY_BYTES: Final = 32
NEW_LINKS: Final = "`sonia init --links` makes the keys between processes anew"
_MIN_DISTINCT_BYTES: Final = 8
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


class BootstrapToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token that exists from the start. `sha256` is of its secret, in hex."""

    id: str
    role: str
    name: str
    sha256: str
    created_at_ms: int
    expires_at_ms: int | None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `keys.<server>.json` holds: a key for each direction between two processes, in base64."""

    format: int
    caller: str
    server: str
    requests: bytes
    answers: bytes


class EarlierKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of the audit chain, in hex, with which rows up to `to_seq` were written."""

    key: str
    to_seq: int


class AuditKeys(msgspec.Struct, frozen=True):
    """What rows of the audit log, and its checkpoints, may have been written with.

    Each of `earlier`, the oldest first, only up to a row, and what is written from now on with `now` alone.
    """

    now: bytes
    earlier: tuple[tuple[bytes, int], ...] = ()

    def of(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """The keys that may have written row `seq`, each with its number: what is written later has no lower one."""
        yield from (
            (number, key) for number, (key, to_seq) in enumerate(self.earlier) if seq <= to_seq
        )
        yield len(self.earlier), self.now


class KeyMaterial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `keys.json` holds. `audit_key` is hex."""

    format: int
    audit_key: str
    tokens: tuple[BootstrapToken, ...]
    earlier_audit_keys: tuple[EarlierKey, ...] = ()

    def audit_key_bytes(self) -> bytes:
        """What the audit chain is written with, 32 bytes or more."""
        return bytes.fromhex(self.audit_key)

    def audit_keys(self) -> AuditKeys:
        """What the audit chain is checked with."""
        earlier = tuple((bytes.fromhex(it.key), it.to_seq) for it in self.earlier_audit_keys)
        return AuditKeys(self.audit_key_bytes(), earlier)

    def renewed(self, to_seq: int) -> "KeyMaterial":
        """The same with another key for the rows after `to_seq`."""
        ended = EarlierKey(self.audit_key, to_seq)
        return msgspec.structs.replace(
            self,
            audit_key=secrets.token_hex(KEY_BYTES),
            earlier_audit_keys=(*self.earlier_audit_keys, ended),
        )


class NewKeys(msgspec.Struct, frozen=True):
    """Fresh key material beside the two secrets that are shown once and stored nowhere."""

    material: KeyMaterial
    operator: str
    observer: str


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(KEY_BYTES)


def hash_secret(secret: str) -> bytes:
    """The only form in which a secret is stored: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def fingerprint(audit_key: str) -> str:
    """What a key, in hex, is called in the audit log."""
    return hashlib.sha256(bytes.fromhex(audit_key)).hexdigest()[:16]


def generate_keys(now_ms: int) -> NewKeys:
    """Make key material with one operator and one observer, neither of which expires."""
    shown: dict[str, str] = {}
    tokens: list[BootstrapToken] = []
    for role in ("operator", "observer"):
        secret, token_id = new_secret(), f"tok_{secrets.token_hex(8)}"
        shown[role] = f"{token_id}.{secret}"
        tokens.append(
            BootstrapToken(
                token_id, role, f"bootstrap {role}", hash_secret(secret).hex(), now_ms, None
            )
        )
    material = KeyMaterial(
        format=FORMAT,
        audit_key=secrets.token_hex(KEY_BYTES),
        tokens=tuple(tokens),
    )
    return NewKeys(material=material, operator=shown["operator"], observer=shown["observer"])


def generate_link(caller: str, server: str) -> Link:
    """Make the keys of one link."""
    return Link(
        FORMAT, caller, server, secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
    )


def write_keys(path: Path, material: KeyMaterial | Link) -> None:
    """Write a new file `path`, mode 0600 from its first byte on, and force it to disk."""
    write_new(path, _encoded(material))


def replace_keys(path: Path, material: KeyMaterial | Link) -> None:
    """Put a new file in the place of `path`: whoever reads it finds the one or the other, whole."""
    replace(path, _encoded(material))


def _encoded(material: KeyMaterial | Link) -> bytes:
    return msgspec.json.format(msgspec.json.encode(material), indent=2) + b"\n"


def load_keys(path: Path, *, earlier: bool = False) -> KeyMaterial:
    """Read and judge `path`. Raises StartRefused for everything that is not sound key material.

    With `earlier` a file of the format before this one is read, too. Whether any of its operators still works at this
    moment, the gateway asks when it starts.
    """
    document = _read_document(
        path.name, _read_private(path, f"{RESTORE}; `sonia init` makes a new one"), RESTORE
    )
    if earlier and document.get("format") == FORMAT - 1:
        # It held a token for all processes in place of the links' keys.
        document = {**document, "format": FORMAT}
        document.pop("service_token", None)
    material = _convert(path.name, document, KeyMaterial, RESTORE)
    _refuse(path.name, (*_weak_keys(material), *_duplicates(material), *_no_operator(material)))
    return material


def load_link(path: Path, server: str) -> Link:
    """Read and judge the keys between `server` and the gateway. Raises StartRefused."""
    return read_link(path.name, _read_private(path, NEW_LINKS), server)


def read_link(name: str, content: bytes, server: str) -> Link:
    """Judge the keys between `server` and the gateway, which came from `name`. Raises StartRefused."""
    link = _convert(name, _read_document(name, content, NEW_LINKS), Link, NEW_LINKS)
    _refuse(name, _weak_link(link, server), NEW_LINKS)
    return link


def _refuse(name: str, reasons: Iterable[str], remedy: str = RESTORE) -> None:
    for reason in reasons:
        raise StartRefused(f"{name}: {reason}", remedy)


def _read_private(path: Path, remedy: str) -> bytes:
    try:
        # Without O_NONBLOCK, a pipe in the file's place would hold the start for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except FileNotFoundError as missing:
        raise StartRefused(f"{path.name} is missing", remedy) from missing
    except OSError as unreadable:
        raise StartRefused(
            f"{path.name} cannot be read: {unreadable.strerror}",
            "put the file itself in its place, and run as its owner",
        ) from unreadable
    # A file that is not private ends the start, and its descriptor with it.
    check_private(path.name, os.fstat(descriptor))
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _read_document(name: str, content: bytes, remedy: str) -> dict[str, object]:
    if not content.strip():
        raise StartRefused(f"{name} is empty", remedy)
    try:
        document = json.loads(content, object_pairs_hook=_refuse_duplicate_names)
        return msgspec.convert(document, dict[str, object])
    except ValueError as wrong:
        raise StartRefused(f"{name} cannot be parsed: {wrong}", remedy) from wrong


T = TypeVar("T")


def _convert(name: str, document: dict[str, object], to: type[T], remedy: str) -> T:
    found = document.get("format", FORMAT)
    if found == FORMAT - 1:
        raise StartRefused(f"{name} is of an earlier release", NEW_LINKS)
    if found != FORMAT:
        raise StartRefused(
            f"{name} has format {found} and this release reads {FORMAT}",
            f"start the release that wrote it, or {remedy}",
        )
    try:
        return msgspec.convert(document, to)
    except ValueError as wrong:
        raise StartRefused(f"{name} cannot be parsed: {wrong}", remedy) from wrong


def _refuse_duplicate_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in one object")
    return dict(pairs)


def _weak_keys(material: KeyMaterial) -> list[str]:
    reasons = []
    earlier = material.earlier_audit_keys
    for name, text in (
        ("audit_key", material.audit_key),
        *(("an earlier audit_key", each.key) for each in earlier),
    ):
        key = _from_hex(text)
        if key is None or len(key) < KEY_BYTES:
            reasons.append(f"{name} is not {KEY_BYTES} bytes of hex")
        elif len(set(key)) < _MIN_DISTINCT_BYTES:
            reasons.append(f"{name} is not random")
    if material.audit_key in {each.key for each in earlier}:
        reasons.append("audit_key is an earlier one")
    for token in material.tokens:
        digest = _from_hex(token.sha256)
        if digest is None or len(digest) != KEY_BYTES or token.sha256.lower() == _EMPTY_SHA256:
            reasons.append(f"the token {token.id!r} has no SHA-256 of a secret")
        if not token.id or "." in token.id:
            reasons.append(f"{token.id!r} is not a token's name")
    return reasons


def _weak_link(link: Link, server: str) -> list[str]:
    reasons = []
    if link.server != server:
        reasons.append(f"these are the keys of {link.server}")
    for key in (link.requests, link.answers):
        if len(key) < KEY_BYTES:
            reasons.append(f"a key is shorter than {KEY_BYTES} bytes")
        elif len(set(key)) < _MIN_DISTINCT_BYTES:
            reasons.append("a key is not random")
    if link.requests == link.answers:
        reasons.append("both directions have the same key")
    return reasons


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _duplicates(material: KeyMaterial) -> list[str]:
    reasons = []
    for what, values in (
        ("id", [token.id for token in material.tokens]),
        ("secret", [token.sha256.lower() for token in material.tokens]),
    ):
        if len(set(values)) != len(values):
            reasons.append(f"two tokens share one {what}")
    return reasons


def _no_operator(material: KeyMaterial) -> list[str]:
    if not material.tokens:
        return ["there is no token"]
    if "operator" not in {token.role for token in material.tokens}:
        return ["there is no operator: nobody could act"]
    return []
