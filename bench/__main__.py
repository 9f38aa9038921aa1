"""`python -m bench`: prints ratios and writes bench/results.json.

Wants wrk on PATH (`apt-get install wrk`) and aiohttp in this environment; BENCH_TAVERN_PYTHON names the
interpreter of an environment with Tavern and pytest < 9. What is missing is said and left out.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import guards, load_client
from bench.report import Measured, show, write

PARTS: Mapping[str, Callable[[int, int], list[Measured]]] = {
    "b": guards.measure,
    "c": load_client.measure,
}
RESULTS = Path(__file__).parent / "results.json"


def main(arguments: Sequence[str]) -> int:
    """0 when everything was measured and every aim met, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"which of {', '.join(PARTS)}; all without")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; medians are shown")
    parser.add_argument("--seconds", type=int, default=2, help="length of each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    measured: list[Measured] = []
    console = Console()
    for part in options.parts or PARTS:
        console.print(f"measuring ({part}) …", highlight=False)
        measured += PARTS[part](options.rounds, options.seconds)
    show(measured, console)
    write(measured, options.out)
    return 0 if all(row.met() is not False and row.ratio is not None for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
