"""`sonia incident export`: what was decided in the last minutes, as a bundle that can leave the machine."""

import argparse
from pathlib import Path
from typing import Final

from service.cli.shared import Commands, add_command, duration_ms, print_json, print_line
from service.incidents import LAST_MS
from service.state import StateDir

EXAMPLES: Final = """\
sonia incident export --last 5m                  into the state directory, also beside a running gateway
sonia incident export --last 1h --out ./monday   as the directory ./monday"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(
        commands,
        argparse.ArgumentParser(add_help=False),
        "incident",
        act,
        "Export what was decided about requests.",
        EXAMPLES,
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")
    export = actions.add_parser(
        "export", parents=[common], help="make a bundle of the last minutes, without secrets"
    )
    export.add_argument(
        "--last", type=duration_ms, default=LAST_MS, metavar="TIME", help="such as 5m, the default"
    )
    export.add_argument("--out", type=Path, metavar="DIR", help="the directory to make")
    export.add_argument("--reason", choices=("manual", "degraded"), default="manual", help="why")
    export.add_argument("--json", action="store_true", help="print the manifest as JSON")


def act(options: argparse.Namespace) -> int:
    """Export; what a running gateway has not written yet, a quarter of a second's, is left out."""
    from service.clock import wall_ms
    from service.ids import random_id
    from service.incidents.bundles import Span, export, prune
    from service.trust import check_process

    state = StateDir(options.state.absolute())
    check_process(state)
    incident_id, now_ms = random_id("inc"), wall_ms()
    out = options.out.absolute() if options.out else state.incidents / incident_id
    span = Span(now_ms - options.last, now_ms, options.reason)
    manifest = export(state, span, incident_id, now_ms, out)
    if options.out is None:
        prune(state)
    if options.json:
        print_json(manifest)
        return 0
    counts = ", ".join(f"{count} {name}" for name, count in manifest.counts.items())
    print_line(f"{out}\n  {counts}; `sonia replay {out}` decides about them again")
    return 0
