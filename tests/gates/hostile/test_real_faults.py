"""Real faults on links whose servers speak something else, and on one that nobody used: one run, judged."""

import datetime as dt
import shlex
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chaos.evidence.sealing import Loader
from chaos.faults import SIGNATURES
from chaos.faults.limit_data import LimitData
from chaos.spec.step import Send, Step
from chaos.spec.target import LinkSpec, Probe, ProcessSpec, Target
from chaos.spec.units import Size
from chaos.steps.clear import Clear
from chaos.steps.request import Request
from gates.judge.connection import Evidence
from tests.builders import gate_runs
from tests.gates.judge.runs import Run, assertion, judged, verdict_of

NewRun = Callable[..., Run]

# Answers what it is asked first in its own protocol, and waits until the client closes.
SERVER = """
import socketserver, ssl, sys
port, speaks, certificate = int(sys.argv[1]), sys.argv[2], sys.argv[3]

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if speaks == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            context.wrap_socket(self.request, server_side=True).recv(1)
            return
        head = self.rfile.readline()
        if speaks == "tcp":
            self.wfile.write(b"+PONG\\r\\n" if head == b"PING\\r\\n" else b"-ERR\\r\\n")
        else:
            while head and not head.endswith(b"\\r\\n\\r\\n") and head != b"PING\\r\\n":
                head += self.rfile.readline()
            status = b"101 Switching" if b"Upgrade: websocket" in head else b"426 Upgrade"
            self.wfile.write(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 0\\r\\n\\r\\n")
            if status.startswith(b"426"):
                return
        self.rfile.read()

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        pass

Server(("127.0.0.1", port), Handler).serve_forever()
"""

# Goes over each of its links once whenever it is asked for `/round`.
FRONT = """
import http.server, os, socket, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        for name in ("CACHE", "TALK", "SAFE") if self.path == "/round" else ():
            with socket.create_connection(("127.0.0.1", int(os.environ[name]))) as one:
                one.sendall(b"PING\\r\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

PROBES = {
    "cache": Probe(tcp="PING\r\n", answer="+PONG\r\n"),
    "talk": Probe(websocket="/talk", headers={"X-Mine": "yes"}),
    "safe": Probe(tls="safe.example"),
}
SPEAKS = {"cache": "tcp", "talk": "websocket", "safe": "tls"}


def certificate(path: Path) -> Path:
    """A key and a certificate for it, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "safe.example")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, *plain) + signed.public_bytes(pem))
    return path


def target(key: Path) -> Target:
    server, front = shlex.quote(SERVER), shlex.quote(FRONT)
    servers = {
        name: ProcessSpec(
            run=f"{{python}} -S -c {server} {{port.{name}}} {speaks} {key}", port=number
        )
        for number, (name, speaks) in enumerate(SPEAKS.items(), start=2)
    }
    own = {
        f"front->{name}": LinkSpec(to=name, env=name.upper(), env_value="{port}", probe=probe)
        for name, probe in PROBES.items()
    }
    return Target(
        target="front",
        processes={
            **servers,
            "front": ProcessSpec(run=f"{{python}} -S -c {front} {{port.front}}", port=1),
        },
        default="front",
        links={
            **own,
            "outside->front": LinkSpec(to="front", probe=Probe(get="/")),
            "outside->talk": LinkSpec(to="talk", probe=Probe(get="/")),
        },
    )


def short(link: str) -> LimitData:
    """A fault that no slow machine is mistaken for."""
    return LimitData(limit_data=link, bytes=Size("5B"), name=link)


def ran(directory: Path, *scenario: Step) -> Path:
    known = target(certificate(directory / "safe.pem"))
    plan = gate_runs.plan(
        directory,
        "",
        list(known.processes),
        run_id="run-1",
        gate="front",
        target=known,
        scenario=scenario,
        # Evidence is of the gate that its folder is called like.
        directory=directory / "front",
        source_root=directory,
        toxiproxy=gate_runs.toxiproxy(),
    )
    (evidence,) = gate_runs.run(plan)
    return evidence.directory


def test_faults_on_links_of_several_protocols(
    tmp_path: Path, new_run: NewRun, live: tuple[Evidence, Loader]
) -> None:
    evidence, loader = live
    met = [f"front->{name}" for name in PROBES]
    rounds = Request(request=Send(get="/round"), via="outside->front")
    directory = ran(
        tmp_path,
        rounds,
        *map(short, met),
        rounds,
        *(Clear(clear=link) for link in met),
        short("outside->talk"),
        short("outside->front"),
        Clear(clear="outside->front"),
        rounds,
    )
    check = new_run(gate="exercise-front", run_id="run-2").begin(target="front")
    for link in (*met, "outside->front", "outside->talk"):
        check.carried(link=link)
    exercise = check.step("control.0").step("scenario.0").end().close()
    loader.load([directory, exercise])
    evidence.refresh()
    spec = judged(assertion(every="status = 200"), gate="front", faults=met)
    verdict = verdict_of(evidence, spec, SIGNATURES)
    why = {fault.fault: fault.why for fault in verdict.faults}
    assert {link: why.pop(link) for link in met} == dict.fromkeys(met)
    # A WebSocket's server answers a plain request with 426.
    assert "answered 'HTTP/1.1 426 Upgrade'" in (why.pop("outside->talk") or "")
    # It was requested before and after, and took hold, but nobody asked for anything inside.
    assert "nothing of the target's own met it" in (why.pop("outside->front") or "")
    assert (why, verdict.status) == ({}, "UNKNOWN")
