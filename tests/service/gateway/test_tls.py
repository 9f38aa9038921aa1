"""A certificate and its key: what is no pair is refused, and where there is one nothing else is spoken."""

import datetime as dt
import http.client
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.client import connect

from service.errors import StartRefused
from service.gateway.tls import open_tls
from service.settings import TlsSettings
from tests.service.running import Gateway, State, new_state, running, sonia

PAIR = TlsSettings("own.pem", "own.key")


def write_pair(directory: Path, name: str, password: bytes | None = None) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    made = x509.CertificateBuilder(who, who, key.public_key(), 1, now - day, now + day)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        hidden = serialization.BestAvailableEncryption(password)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
    (directory / f"{name}.key").touch(0o600)
    (directory / f"{name}.key").write_bytes(key.private_bytes(pem, form, hidden))


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A directory with a pair, `own`."""
    write_pair(tmp_path, "own")
    return tmp_path


def test_without_a_pair_there_is_no_tls(tmp_path: Path) -> None:
    assert open_tls(tmp_path, TlsSettings()) is None


def test_a_pair_is_taken_up_from_the_state_directory_or_from_elsewhere(pair: Path) -> None:
    assert open_tls(pair, PAIR) is not None
    elsewhere = TlsSettings(str(pair / "own.pem"), str(pair / "own.key"))
    assert open_tls(Path("/nonexistent"), elsewhere) is not None


def test_what_is_no_pair_is_refused(pair: Path) -> None:
    write_pair(pair, "other")
    for settings, said in [
        (TlsSettings("own.pem", "other.key"), "mismatch"),
        (TlsSettings("own.key", "own.key"), "PEM lib"),
        (TlsSettings("none.pem", "own.key"), "No such file"),
        (TlsSettings("own.pem", "none.key"), "No such file"),
        (TlsSettings("own.pem", "."), "not a regular file"),
    ]:
        with pytest.raises(StartRefused, match=said):
            open_tls(pair, settings)


def test_a_key_that_others_can_read_is_refused(pair: Path) -> None:
    (pair / "own.key").chmod(0o640)
    with pytest.raises(StartRefused, match=r"own\.key"):
        open_tls(pair, PAIR)


def test_nobody_is_asked_for_a_password(pair: Path) -> None:
    write_pair(pair, "own", b"secret")
    with pytest.raises(StartRefused, match="encrypted"):
        open_tls(pair, PAIR)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state whose gateway speaks TLS."""
    state = new_state(tmp_path / "state", "http: {tls: {certificate: own.pem, key: own.key}}\n")
    write_pair(state.directory.root, "own")
    return state


def trusting(state: State) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=state.directory.root / "own.pem")


def status(gateway: Gateway, path: str) -> int:
    asked = http.client.HTTPSConnection(
        "127.0.0.1", gateway.port, timeout=10, context=trusting(gateway.state)
    )
    asked.request("GET", path, headers={"Authorization": f"Bearer {gateway.state.operator}"})
    return asked.getresponse().status


def test_requests_and_streams_are_served_by_tls_and_nothing_else_is(state: State) -> None:
    with running(state) as gateway:
        assert status(gateway, "/v1/sessions") == 200
        bearer = f"sonia.bearer.{state.operator}"
        url = f"wss://127.0.0.1:{gateway.port}/v1/stream"
        with connect(url, ssl=trusting(state), subprotocols=["sonia.v1", bearer]) as stream:  # type: ignore[list-item]
            assert '"ready"' in str(stream.recv(10))
        plain = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()
        # Whoever spoke something else has cost nobody else anything.
        assert status(gateway, "/healthz") == 200


def test_a_gateway_without_its_database_speaks_it_as_well(state: State) -> None:
    state.directory.database.write_bytes(b"\x01" * 100_000)
    with running(state) as gateway:
        assert status(gateway, "/readyz") == 200


def test_doctor_looks_at_the_pair(state: State) -> None:
    (state.directory.root / "own.pem").unlink()
    told = sonia(state, "doctor")
    assert (told.returncode, "own.pem with own.key" in told.stderr) == (78, True)
