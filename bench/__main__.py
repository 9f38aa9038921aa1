"""`python -m bench`: prints ratios and writes bench/results.json.

Wants wrk on PATH (`apt-get install wrk`) and aiohttp in this environment; BENCH_TAVERN_PYTHON names the
interpreter of an environment with Tavern and pytest < 9. What is missing is said and left out.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import (
    durable,
    goodput,
    guards,
    harness,
    incidents,
    judge,
    load_client,
    release,
    signatures,
    stored,
    traces,
)
from bench.report import Measured, show, unmeasured, write
from chaos.errors import ChaosError

PARTS: Mapping[str, Callable[[int, int], list[Measured]]] = {
    "a": harness.measure,
    "b": guards.measure,
    "c": load_client.measure,
    "d": judge.measure,
    "e": release.measure,
    "f": signatures.measure,
    "g": incidents.measure,
    "h": traces.measure,
    "i": goodput.measure,
    "j": durable.measure,
    "k": stored.measure,
}
RESULTS = Path(__file__).parent / "results.json"


def main(arguments: Sequence[str]) -> int:
    """0 when nothing broke and every aim that could be measured is met, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"which of {', '.join(PARTS)}; all without")
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="repetitions; medians are shown"
    )
    parser.add_argument("--seconds", type=_positive, default=2, help="length of a measurement")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    console = Console()
    measured: list[Measured] = []
    broken = False
    for part in options.parts or PARTS:
        console.print(f"measuring ({part}) …", highlight=False)
        try:
            measured += PARTS[part](options.rounds, options.seconds)
        except (RuntimeError, OSError, ChaosError, subprocess.SubprocessError) as error:
            # What the other parts measured is worth having all the same.
            broken = True
            measured.append(unmeasured(part, "broke", None, str(error)))
    show(measured, console)
    write(measured, options.out)
    return 1 if broken or any(row.met() is False for row in measured) else 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
