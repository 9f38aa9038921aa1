"""`sonia sign`: the headers by which a process takes a request for the gateway's, to try it by hand."""

import argparse
import sys
from pathlib import Path
from typing import Final

from service.cli.shared import Commands, add_command, print_json, print_line
from service.errors import SoniaError
from service.processes import BEHIND
from service.state import StateDir

EXAMPLES: Final = """\
sonia sign GET /internal/ready --for memory
sonia sign POST /internal/memories --for memory --body memory.json --json
sonia sign GET /internal/ready --for tools | curl -H @- http://127.0.0.1:7040/internal/ready"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(
        commands, common, "sign", act, "Sign a request to a process behind the gateway.", EXAMPLES
    )
    command.add_argument("method", metavar="METHOD")
    command.add_argument("path", metavar="PATH", help="with its query, as it is sent")
    command.add_argument(
        "--for", dest="server", required=True, choices=[each.name for each in BEHIND]
    )
    command.add_argument(
        "--body", type=Path, metavar="FILE", help="what is sent; - is standard input"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def act(options: argparse.Namespace) -> int:
    """Print headers that are good once, and for half a minute."""
    from service.http.signatures import Signer
    from service.keys import load_link

    link = load_link(StateDir(options.state.absolute()).link(options.server), options.server)
    headers = Signer(link).sign(options.method, options.path, _body(options.body))
    if options.json:
        print_json(headers)
        return 0
    for name, value in headers.items():
        print_line(f"{name}: {value}")
    return 0


def _body(file: Path | None) -> bytes:
    if file is None:
        return b""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise SoniaError(f"{file} cannot be read: {error.strerror}") from error
