"""`python -m tests.crash`: loses power, fails the disk, cuts migrations short and kills the gateway, in full.

Each round is one seed: power is lost at every sync of a workload, the disk fails in each way, the schema is moved, the audit log archived, a backup
made and put in place, and that is killed at every tenth write (ten rounds are every write), and the gateway is killed again and again on one state directory. `--seed N` does the round of that seed, and no other.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.crash.archiving import kill_everywhere
from tests.crash.kills import kill_again_and_again
from tests.crash.migrations import cut_short_everywhere
from tests.crash.power import FAILURES, fail_once, lose_everywhere
from tests.crash.replacing import cut_backups_short, cut_restores_short

ROUNDS = 10
KILLS = 50
CUT_SHORT = {
    "migrations": cut_short_everywhere,
    "archivings": kill_everywhere,
    "backups": cut_backups_short,
    "restores": cut_restores_short,
}


def main() -> int:
    """0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seed", type=int, help="do the round of this seed only")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"of each round, {KILLS}")
    arguments = parser.parse_args()
    first = int(time.time()) if arguments.seed is None else arguments.seed
    rounds = arguments.rounds if arguments.seed is None else 1
    wrong = [
        problem
        for seed in range(first, first + rounds)
        for problem in round_of(seed, arguments.kills)
    ]
    print(f"{rounds} rounds from seed {first}: {len(wrong)} problems")
    return 1 if wrong else 0


def round_of(seed: int, kills: int) -> list[str]:
    """Do one round, and say what came of it."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as scratch:
        place = Path(scratch)
        states, wrong = lose_everywhere(place / "power", seed, rounds=60, torn=3)
        for number, (did, error) in enumerate(FAILURES * 5):
            wrong += fail_once(place / f"failure-{number}", seed + number, did, error)
        cuts = {}
        for name, cut in CUT_SHORT.items():
            cuts[name], more = cut(place / name, 1 + seed % ROUNDS, ROUNDS)
            wrong += more
        wrong += kill_again_and_again(place / "kills", seed, kills)
    for problem in wrong:
        print(problem)
    failures = len(FAILURES) * 5
    short = ", ".join(f"{count} {name}" for name, count in cuts.items())
    print(
        f"seed {seed}: power lost in {states} ways, {failures} failures of the disk, cut short {short},"
        f" {kills} kills, {len(wrong)} problems, {time.monotonic() - began_s:.0f} s",
        flush=True,
    )
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
