"""`sonia replay`: is the same decided again, from what was recorded?"""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.cli.shared import Commands, add_command, print_json, print_line

if TYPE_CHECKING:
    from service.replay import Divergence, Stage

MOST_SHOWN: Final = 20
EXAMPLES: Final = """\
sonia replay sonia-state/incidents/inc_0123    exit 0: every request was decided as recorded; 1: the first stages that were not
sonia replay ./monday --json"""


def add(commands: Commands, _: argparse.ArgumentParser) -> None:
    """Add the command."""
    command = add_command(
        commands,
        argparse.ArgumentParser(add_help=False),
        "replay",
        act,
        "Decide about the requests of an incident again.",
        EXAMPLES,
    )
    command.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="a directory of `incident export`"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Replay; needs no state, no network and no clock."""
    from service.incidents.bundles import read_bundle
    from service.replay import replay

    bundle = read_bundle(options.bundle)
    with _unlogged():
        came = replay(bundle)
    if options.json:
        print_json(came)
        return 1 if came.diverging else 0
    for each in came.diverging[:MOST_SHOWN]:
        print_line(_told(each))
    if len(came.diverging) > MOST_SHOWN:
        print_line(f"and {len(came.diverging) - MOST_SHOWN} more")
    if came.changed:
        print_line(f"this bundle is not as it was exported: {', '.join(came.changed)}")
    for name, count in came.as_recorded.items():
        print_line(
            f"{count} times the stage {name} was taken as recorded: this bundle is of an older release and does not say by what it decided"
        )
    omitted = f", {came.omitted} too long to have been recorded" if came.omitted else ""
    print_line(f"{came.same} of {came.requests} requests were decided as recorded{omitted}")
    return 1 if came.diverging else 0


@contextmanager
def _unlogged() -> Iterator[None]:
    """What the recorded requests failed with was logged then."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


def _told(each: "Divergence") -> str:
    place = f"{each.request_id} ({each.kind} {each.route}), stage {each.n}"
    return f"{place}: recorded {_stage(each.recorded)}, replayed {_stage(each.replayed)}"


def _stage(stage: "Stage | None") -> str:
    if stage is None:
        return "nothing"
    return f"{stage.stage} {stage.decision}" + (f" ({stage.reason})" if stage.reason else "")
