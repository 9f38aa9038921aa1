"""`python -m tests.fuzz --seconds 60`: tries inputs that nobody would write, and keeps those that break something.

Each round is a session of hypothesis with a seed of its own, over one surface after the other. What it finds is made as
small as it gets and written to `tests/corpus/`, where the tests try it again for ever.
"""

import argparse
import faulthandler
import itertools
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from chaos.marks import all_pids, stat_of
from tests.fuzz.inputs import CORPUS, EDITS, SURFACES, Edit, Surface, edited, of

HANGS_AFTER_S = 300
EXAMPLES = 20


class Broken(Exception):
    """An input had no answer."""


def main() -> int:
    """0 when nothing was found, 1 otherwise; a hang ends the process with its stack."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--rounds", type=int, help="no more than so many, in which the same seed tries the same"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--surface", choices=sorted(SURFACES), action="append")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    found, tried = 0, 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        names = arguments.surface or list(SURFACES)
        surfaces = {name: SURFACES[name](Path(scratch) / name) for name in names}
        for number in itertools.count() if arguments.rounds is None else range(arguments.rounds):
            if time.monotonic() - began_s > arguments.seconds:
                break
            name = names[number % len(names)]
            found += round_of(name, surfaces[name], arguments.seed + number)
            tried += EXAMPLES
    stray = [pid for pid in all_pids() if parent_of(pid) == os.getpid()]
    print(
        f"{tried} inputs from seed {arguments.seed}: {found} broke something, {len(stray)} processes are left"
    )
    return 1 if found or stray else 0


def round_of(name: str, surface: Surface, number: int) -> int:
    """How many of one session's inputs broke something: at most one."""
    last = of(name, "", b"")

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(surface.files)), EDITS)
    def tried(file: str, edits: list[Edit]) -> None:
        nonlocal last
        content = edited(surface.files[file], edits)
        last = of(name, file, content)
        # Written first: of a hang nothing else would be left.
        known = last.path(CORPUS).exists()
        kept = last.save(CORPUS)
        faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
        try:
            surface.try_it(file, content)
        finally:
            faulthandler.cancel_dump_traceback_later()
            if not known:
                kept.unlink()

    try:
        tried()
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        traceback.print_exc()
        print(f"kept as {last.save(CORPUS)}", file=sys.stderr)
        return 1
    return 0


def parent_of(pid: int) -> int:
    """The parent of a process, 0 when it has gone."""
    try:
        return int(stat_of(pid)[1])
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
