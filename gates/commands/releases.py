"""The commands about releases: `run` with its proofs, `verify`, `diff`, `keygen`, `sign`."""

import argparse
import re
import shutil
from functools import partial
from pathlib import Path

import duckdb
import msgspec
from rich.console import Console

from chaos.errors import ChaosError, HarnessError
from chaos.spec.loader import load
from gates.commands import runs as commands
from gates.commands.prove import (
    carry_out,
    evaluated,
    kept_of,
    print_proofs,
    ship,
    store_of,
)
from gates.prove.kept import FOLDER
from gates.release import signing
from gates.release.closing import sign_release
from gates.release.manifest import read_manifest
from gates.release.report import EXIT_FAILED, EXIT_PROMOTE, Report
from gates.release.stored import read_loosely, stored_report
from gates.run.session import Session
from gates.run.store import Store
from gates.spec.project import Project
from gates.spec.release import Release
from gates.spec.snapshot import sha256_of
from gates.verify.diff import compare
from gates.verify.diff_render import as_json, as_markdown, as_text
from gates.verify.verify import Expected, Verification, verify

VERIFY_CODES = """\
exit codes:
  0  everything is as it was released and follows from the evidence; this says nothing of PROMOTE or HOLD
  1  something does not; each such thing is named
  4  there is no release that can be read
"""
VERIFY_EXAMPLES = """\
Needs nothing but the directory: no service, no Toxiproxy, no network. What a release says of itself can only be
consistent; give the commit, the policy (release.yaml, or its digest), the public key and the ledger of attempts to
authenticate it.

examples:
  python -m gates verify releases/v4.6.0
  python -m gates verify releases/v4.6.0 --commit "$(git rev-parse v4.6.0)" --policy specs/release.yaml --key release.pub
  python -m gates verify releases/v4.6.0 --ledger /mnt/shared/attempts.jsonl

"""
DIFF_EXAMPLES = """\
Lists changed statuses, gates that came or went, assertions that were loosened or tightened, and changed
configuration and defects. Loosened ones, and those of which it cannot be told, are flagged.

examples:
  python -m gates diff releases/v4.6.0-baseline releases/v4.6.0
  python -m gates diff old/gate-report.json releases/v4.6.0/gate-report.json --format markdown

exit codes:
  0  nothing was loosened
  1  something was, or may have been
  4  one of them cannot be read
"""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """`gates run`: with `--prove` the proofs as well, with `--key` signed."""
    if arguments.key is not None:
        # Before anything runs: a release that cannot be signed in the end would have to be run again.
        signing.read_private(arguments.key)
    proofs = _prove if arguments.prove else _take_up
    return commands.run(arguments, console, partial(proofs, store_of(arguments)))


def _prove(store: Store, session: Session, project: Project, console: Console) -> bool:
    """Make the trials that are missing, ship all; returns whether that was interrupted."""
    try:
        done = carry_out(session, project, store, console, again=False)
    except KeyboardInterrupt:
        return True
    except (ChaosError, OSError) as error:
        console.print(f"the proofs could not be run: {error}", markup=False)
    else:
        tried = [(item.trial, item.verdict) for item in done]
        print_proofs(evaluated(session, project, tried), project, console)
    _ship(store, session, project, console)
    return False


def _take_up(store: Store, session: Session, project: Project, console: Console) -> bool:
    """Ship the trials that were made before at the inputs of a release; it is not interrupted by that."""
    if session.decides:
        _ship(store, session, project, console)
    return False


def _ship(store: Store, session: Session, project: Project, console: Console) -> None:
    out = session.path / FOLDER
    try:
        ship(kept_of(session, project, store), session, project, out)
    except (ChaosError, OSError, duckdb.Error) as error:
        console.print(f"the proofs could not be shipped: {error}", markup=False)
        shutil.rmtree(out, ignore_errors=True)


def verify_command(arguments: argparse.Namespace, console: Console) -> int:
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
        _print_verification(found, console)
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


def _print_verification(found: Verification, console: Console) -> None:
    for flaw in found.flaws:
        console.print(f"{flaw.path}: {flaw.problem}", style="bold red", markup=False)
    console.print(f"{found.release}: {found.verdict} ({found.reason})", markup=False)
    console.print(f"manifest {found.manifest_sha256}", markup=False)
    if found.ledger_head:
        console.print(f"ledger   {found.ledger_head}", markup=False)
    console.print(found.summary, style="bold red" if found.flaws else "bold", markup=False)


def diff_command(arguments: argparse.Namespace, console: Console) -> int:
    """Say what changed between two reports."""
    found = compare(_report_at(arguments.base), _report_at(arguments.new))
    text = {"text": as_text, "json": as_json, "markdown": as_markdown}[arguments.format](found)
    console.out(text, highlight=False)
    return EXIT_FAILED if found.flagged else EXIT_PROMOTE


def _report_at(path: Path) -> Report:
    """A report, given as its file or as the directory of its release."""
    return stored_report(path) if path.is_dir() else read_loosely(path.resolve(), Report)


def keygen(arguments: argparse.Namespace, console: Console) -> int:
    """Make a key pair for signing."""
    public, key_id = signing.make_keys(arguments.file)
    console.print(
        f"private key: {arguments.file} (keep it; only its owner can read it)", markup=False
    )
    console.print(f"public key:  {public}", markup=False)
    console.print(f"key id:      {key_id}", markup=False)
    return EXIT_PROMOTE


def sign_command(arguments: argparse.Namespace, console: Console) -> int:
    """Sign a release that lies there, once it is seen to be consistent."""
    read_manifest(arguments.release)
    found = verify(arguments.release, Expected())
    if not found.consistent:
        _print_verification(found, console)
        console.print("not signed", style="bold red")
        return EXIT_FAILED
    sign_release(arguments.release, arguments.key)
    console.print(f"signed {arguments.release}: {found.verdict}", markup=False)
    return EXIT_PROMOTE
