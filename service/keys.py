"""Key material: `keys.json`, mode 0600, and every reason not to start with it.

The file holds the SHA-256 of the bootstrap tokens' secrets, the key of the audit chain and the
token by which SONIA's own processes know each other. It never holds a bootstrap secret.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from service.errors import RESTORE, StartRefused
from service.trust import check_private

FORMAT: Final = 1
KEY_BYTES: Final = 32
SERVICE_PREFIX: Final = "svc."
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


class KeyMaterial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `keys.json` holds. `audit_key` is hex; `service_token` is `svc.<secret>`."""

    format: int
    audit_key: str
    service_token: str
    tokens: tuple[BootstrapToken, ...]

    def audit_key_bytes(self) -> bytes:
        """The audit chain's key, 32 bytes or more."""
        return bytes.fromhex(self.audit_key)


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
        service_token=SERVICE_PREFIX + new_secret(),
        tokens=tuple(tokens),
    )
    return NewKeys(material=material, operator=shown["operator"], observer=shown["observer"])


def write_keys(path: Path, material: KeyMaterial) -> None:
    """Write a new file `path`, mode 0600 from its first byte on, and force it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(material), indent=2) + b"\n")
        file.flush()
        os.fsync(descriptor)


def load_keys(path: Path) -> KeyMaterial:
    """Read and judge `path`. Raises StartRefused for everything that is not sound key material.

    Whether any of its operators still works at this moment, the gateway asks when it starts.
    """
    material = _decode(path.name, _read_private(path))
    for reason in (*_weak_keys(material), *_duplicates(material), *_no_operator(material)):
        raise StartRefused(f"{path.name}: {reason}", RESTORE)
    return material


def _read_private(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK, a pipe in the file's place would hold the start for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except FileNotFoundError as missing:
        raise StartRefused(
            f"{path.name} is missing", f"{RESTORE}; `sonia init` makes a new one"
        ) from missing
    except OSError as unreadable:
        raise StartRefused(
            f"{path.name} cannot be read: {unreadable.strerror}",
            "put the file itself in its place, and run as its owner",
        ) from unreadable
    # A file that is not private ends the start, and its descriptor with it.
    check_private(path.name, os.fstat(descriptor))
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _decode(name: str, content: bytes) -> KeyMaterial:
    if not content.strip():
        raise StartRefused(f"{name} is empty", RESTORE)
    try:
        json.loads(content, object_pairs_hook=_refuse_duplicate_names)
        material = msgspec.json.decode(content, type=KeyMaterial)
    except ValueError as wrong:
        raise StartRefused(f"{name} cannot be parsed: {wrong}", RESTORE) from wrong
    if material.format != FORMAT:
        raise StartRefused(
            f"{name} has format {material.format} and this release reads {FORMAT}",
            f"start the release that wrote it, or {RESTORE}",
        )
    return material


def _refuse_duplicate_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in one object")
    return dict(pairs)


def _weak_keys(material: KeyMaterial) -> list[str]:
    reasons = []
    key = _from_hex(material.audit_key)
    if key is None or len(key) < KEY_BYTES:
        reasons.append(f"audit_key is not {KEY_BYTES} bytes of hex")
    elif len(set(key)) < _MIN_DISTINCT_BYTES:
        reasons.append("audit_key is not random")
    secret = material.service_token.removeprefix(SERVICE_PREFIX)
    if not material.service_token.startswith(SERVICE_PREFIX) or len(secret) < KEY_BYTES:
        reasons.append(f"service_token is shorter than {KEY_BYTES} characters")
    elif len(set(secret)) < _MIN_DISTINCT_BYTES:
        reasons.append("service_token is not random")
    for token in material.tokens:
        digest = _from_hex(token.sha256)
        if digest is None or len(digest) != KEY_BYTES or token.sha256.lower() == _EMPTY_SHA256:
            reasons.append(f"the token {token.id!r} has no SHA-256 of a secret")
        if not token.id or "." in token.id:
            reasons.append(f"{token.id!r} is not a token's name")
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
    service_hash = hash_secret(material.service_token.removeprefix(SERVICE_PREFIX)).hex()
    if service_hash in {token.sha256.lower() for token in material.tokens}:
        reasons.append("service_token is also a caller's token")
    return reasons


def _no_operator(material: KeyMaterial) -> list[str]:
    if not material.tokens:
        return ["there is no token"]
    if "operator" not in {token.role for token in material.tokens}:
        return ["there is no operator: nobody could act"]
    return []
