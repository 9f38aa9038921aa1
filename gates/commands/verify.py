"""`python -m gates verify`: whether a release is what it says, from its files."""

import argparse
import re
from pathlib import Path

import msgspec
from rich.console import Console

from chaos.errors import HarnessError
from chaos.spec.loader import load
from gates.commands.shared import Commands, add_command
from gates.formats.console import print_verification
from gates.release import signing
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE
from gates.spec.release import Release
from gates.spec.snapshot import sha256_of
from gates.verify.verify import Expected, verify

EXAMPLES = """\
Needs nothing but the directory: no service, no Toxiproxy, no network. What a release says of itself can only be
consistent; give the commit, the policy (release.yaml, or its digest), the public key and the ledger of attempts to
authenticate it.

examples:
  python -m gates verify releases/v4.6.0
  python -m gates verify releases/v4.6.0 --commit "$(git rev-parse v4.6.0)" --policy specs/release.yaml --key release.pub
  python -m gates verify releases/v4.6.0 --ledger /mnt/shared/attempts.jsonl

exit codes:
  0  everything is as it was released and follows from the evidence; this says nothing of PROMOTE or HOLD
  1  something does not; each such thing is named
  4  there is no release that can be read
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "verify", act, "whether a release is what it says, from its files", EXAMPLES
    )
    command.add_argument("release", type=Path, metavar="RELEASE_DIR")
    command.add_argument("--commit", metavar="SHA", help="the commit it must be of, in full")
    command.add_argument(
        "--policy", metavar="SHA256|FILE", help="the release.yaml it must be decided by"
    )
    command.add_argument("--key", type=Path, metavar="PUBLIC", help="the key it must be signed by")
    command.add_argument(
        "--ledger", type=Path, metavar="FILE", help="the ledger of attempts that it must rest on"
    )
    command.add_argument("--json", action="store_true", help="everything, for programs")


def act(arguments: argparse.Namespace, console: Console) -> int:
    """Say whether a release is what it says, and who stands for it."""
    found = verify(arguments.release, _expected(arguments))
    if arguments.json:
        said = {
            **msgspec.to_builtins(found),
            "consistent": found.consistent,
            "summary": found.summary,
        }
        console.out(msgspec.json.format(msgspec.json.encode(said)).decode(), highlight=False)
    else:
        print_verification(found, console)
    return EXIT_PROMOTE if found.consistent else EXIT_FAILED


def _expected(arguments: argparse.Namespace) -> Expected:
    if arguments.ledger is not None and not arguments.ledger.is_file():
        raise HarnessError(f"there is no ledger {arguments.ledger}")
    if arguments.commit is not None and not re.fullmatch(r"[0-9a-f]{40,64}", arguments.commit):
        raise HarnessError(f"{arguments.commit!r} is no full commit")
    return Expected(
        commit=arguments.commit,
        policy=policy_digest(arguments.policy) if arguments.policy is not None else None,
        key=signing.read_public(arguments.key) if arguments.key is not None else None,
        ledger=arguments.ledger,
    )


def policy_digest(text: str) -> str:
    """The digest of a policy: given as such, or of a `release.yaml`, shipped ones included."""
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    return sha256_of(load(Path(text), Release, {})[0])
