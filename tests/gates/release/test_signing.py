"""Keys and envelopes."""

import stat
from pathlib import Path

import msgspec
import pytest

from chaos.errors import HarnessError
from gates.cli import main
from gates.release.signing import (
    IN_TOTO,
    Envelope,
    make_keys,
    opened,
    public_from_text,
    read_private,
    read_public,
    sign,
    text_of,
)


def test_a_key_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert main(["keygen", str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["keygen", str(path)]) == 4
    path.chmod(0o644)
    with pytest.raises(HarnessError, match="chmod 600"):
        read_private(path)


def test_only_what_was_signed_as_what_it_was_signed_opens(tmp_path: Path) -> None:
    public, _ = make_keys(tmp_path / "key")
    other, _ = make_keys(tmp_path / "other")
    envelope = sign(b"payload", IN_TOTO, read_private(tmp_path / "key"))
    key = read_public(public)
    assert opened(envelope, IN_TOTO, key) == b"payload"
    assert opened(envelope, IN_TOTO, public_from_text(text_of(key))) == b"payload"
    with pytest.raises(ValueError, match="not signed by this key"):
        opened(envelope, IN_TOTO, read_public(other))
    with pytest.raises(ValueError, match="of another type"):
        opened(envelope, "text/plain", key)
    for changes in ({"payload": "cGF5"}, {"payload_type": "text/plain"}, {"signatures": []}):
        kind = str(changes.get("payload_type", IN_TOTO))
        with pytest.raises(ValueError, match="not signed by this key"):
            opened(msgspec.structs.replace(envelope, **changes), kind, key)
    with pytest.raises(ValueError, match="base64"):
        opened(msgspec.structs.replace(envelope, payload="%"), IN_TOTO, key)


def test_envelopes_are_those_of_the_standard(tmp_path: Path) -> None:
    make_keys(tmp_path / "key")
    written = msgspec.json.encode(sign(b"x", IN_TOTO, read_private(tmp_path / "key")))
    assert set(msgspec.json.decode(written)) == {"payload", "payloadType", "signatures"}
    assert msgspec.json.decode(written, type=Envelope).signatures[0].keyid


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(HarnessError, match="no private key"):
        read_private(path)
    with pytest.raises(HarnessError, match="no public key"):
        read_public(path)
    with pytest.raises(ValueError, match="no Ed25519 key"):
        public_from_text(content.decode())
