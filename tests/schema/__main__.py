"""`python -m tests.schema SCHEMATHESIS`: asks a running SONIA, as each role, for what its OpenAPI document lets expect.

The document is the running gateway's own. Each role has a system of its own; tokens are issued, rotated and revoked in a last
one, where it does not matter that whoever asks loses its own.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.service.running import new_state
from tests.service.stack import running_stack

CONFIGURATION: Final = Path(__file__).parent / "schemathesis.toml"
TOKENS: Final = "/v1/tokens/.*"
# Who asks, in which phases, and which operations are chosen.
RUNS: Final[tuple[tuple[str, str, Sequence[str]], ...]] = (
    ("anonymous", "coverage", ()),
    ("observer", "coverage,fuzzing", ()),
    ("operator", "coverage,fuzzing,stateful", ("--exclude-path-regex", TOKENS)),
    ("operator", "coverage", ("--include-path-regex", TOKENS)),
)


def main() -> int:
    """0 when nothing failed, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.schema", description=__doc__)
    parser.add_argument("schemathesis", help="the command")
    parser.add_argument("--examples", type=int, default=10, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(prefix="schema-") as scratch:
        for number, (role, phases, chosen) in enumerate(RUNS):
            print(f"as {role}: {phases} {' '.join(chosen)}", flush=True)
            place = Path(scratch, str(number))
            place.mkdir()
            given = ("--max-examples", str(arguments.examples), "--seed", str(arguments.seed))
            command = (arguments.schemathesis, "--config-file", str(CONFIGURATION), "run")
            failed |= asks(command, role, place, ("--phases", phases, *chosen, *given)) != 0
    return 1 if failed else 0


def asks(command: Sequence[str], role: str, place: Path, options: Sequence[str]) -> int:
    """Run schemathesis once, in `place`, and return its exit code."""
    state = new_state(place / "state", "auth: {denied_audit_per_s: 1}\n")
    tokens = {"operator": state.operator, "observer": state.observer}
    with running_stack(state) as stack:
        stack.await_up("memory", "model", "tools")
        document = place / "openapi.json"
        document.write_bytes(stack.gateway.operator("GET", "/v1/openapi.json").body)
        credentials = ("-H", f"Authorization: Bearer {tokens[role]}") if role in tokens else ()
        return subprocess.run(
            [
                *command,
                str(document),
                "--url",
                f"http://127.0.0.1:{stack.gateway.port}",
                "--checks",
                "all",
                "--suppress-health-check",
                "all",
                *credentials,
                *options,
            ],
            cwd=place,
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
