"""Ed25519 keys and signed envelopes (DSSE, https://github.com/secure-systems-lab/dsse), as in-toto wants them."""

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE, HarnessError, told

IN_TOTO = "application/vnd.in-toto+json"
SIGNATURE_BYTES = 64


class Signature(Struct, frozen=True, kw_only=True):
    """`keyid` is the SHA-256 of the raw public key in hex, `sig` the signature in base64."""

    keyid: str
    sig: str


class Envelope(Struct, frozen=True, kw_only=True, rename="camel"):
    """A payload in base64 with its type, and who signed both."""

    payload: str
    payload_type: str
    signatures: list[Signature]


def make_keys(path: Path) -> tuple[Path, str]:
    """Write a new private key to `path` (0600) and its public half beside it; returns that and the key's id.

    HarnessError when one of the files is there already: a key is never replaced.
    """
    public_path = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for target, content, mode in ((path, private, 0o600), (public_path, public, 0o644)):
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise HarnessError(f"cannot write {target}: {error.strerror}") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return public_path, key_id(key.public_key())


def read_private(path: Path) -> Ed25519PrivateKey:
    """A private key from a PEM file; HarnessError when it is none, or when others than its owner can read it."""
    content = _bytes_of(path)
    if path.stat().st_mode & 0o077:
        raise HarnessError(f"{path} can be read by others than its owner: chmod 600 it")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HarnessError(
            f"{path} is no private key that can be read: {told(error, path)}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HarnessError(f"{path} is no Ed25519 key")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """A public key from a PEM file; HarnessError when it is none."""
    try:
        key = serialization.load_pem_public_key(_bytes_of(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise HarnessError(
            f"{path} is no public key that can be read: {told(error, path)}"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise HarnessError(f"{path} is no Ed25519 key")
    return key


def public_from_text(text: str) -> Ed25519PublicKey:
    """A public key from its 32 raw bytes in base64; ValueError when they are none."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text!r} is no Ed25519 key in base64") from error


def text_of(key: Ed25519PublicKey) -> str:
    """The raw bytes of a public key in base64."""
    return base64.b64encode(_raw(key)).decode()


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key in hex."""
    return hashlib.sha256(_raw(key)).hexdigest()


def sign(payload: bytes, payload_type: str, key: Ed25519PrivateKey) -> Envelope:
    """Sign a payload together with its type."""
    signature = key.sign(_encoded(payload, payload_type))
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=payload_type,
        signatures=[
            Signature(keyid=key_id(key.public_key()), sig=base64.b64encode(signature).decode())
        ],
    )


def opened(envelope: Envelope, payload_type: str, key: Ed25519PublicKey) -> bytes:
    """The payload that this key signed as this type; ValueError when it did not."""
    payload = payload_of(envelope, payload_type)
    try:
        signatures = [base64.b64decode(one.sig, validate=True) for one in envelope.signatures]
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is not in base64") from error
    # The id of a key is only a hint by the standard; every signature is tried.
    if not any(_holds(key, signature, payload, payload_type) for signature in signatures):
        raise ValueError("it is not signed by this key")
    return payload


def _holds(key: Ed25519PublicKey, signature: bytes, payload: bytes, payload_type: str) -> bool:
    try:
        key.verify(signature, _encoded(payload, payload_type))
    except InvalidSignature:
        return False
    return True


def _encoded(payload: bytes, payload_type: str) -> bytes:
    """The pre-authentication encoding of DSSE, version 1."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _bytes_of(path: Path) -> bytes:
    try:
        return regular.read(path)
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror}") from error


def envelope_in(path: Path) -> Envelope:
    """The one signed envelope that a file holds, and nothing beside it; ValueError when that is not so."""
    try:
        content = regular.read(path)
        envelope = msgspec.json.decode(content, type=Envelope)
    except (OSError, *UNREADABLE) as error:
        raise ValueError(f"cannot be read: {told(error)}") from error
    if msgspec.json.encode(envelope) + b"\n" != content:
        raise ValueError("it holds more than one envelope")
    if not envelope.signatures or not all(map(_is_signature, envelope.signatures)):
        raise ValueError("it holds no signature that could be one of Ed25519")
    return envelope


def payload_of(envelope: Envelope, payload_type: str) -> bytes:
    """What is in an envelope, whoever signed it; ValueError when it is of another type, or cannot be read."""
    if envelope.payload_type != payload_type:
        raise ValueError(f"it is of another type, {envelope.payload_type!r}")
    try:
        return base64.b64decode(envelope.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is not in base64") from error


def _is_signature(signature: Signature) -> bool:
    try:
        raw = base64.b64decode(signature.sig, validate=True)
    except (binascii.Error, ValueError):
        return False
    return (
        len(raw) == SIGNATURE_BYTES and re.fullmatch(r"[0-9a-f]{64}", signature.keyid) is not None
    )
