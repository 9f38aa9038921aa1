"""(i) What is left of a gateway's capacity when more is asked of it than it can do, and how long the admitted wait."""

import tempfile
from pathlib import Path
from statistics import quantiles
from typing import TypeVar

import msgspec

from bench.load_client import post, run_load
from bench.processes import server
from bench.report import Measured
from chaos.load.plan import Clients, Rates, Stage
from service.settings import AdmissionSettings

T = TypeVar("T")
PART = "i"
MODEL_S = 0.4
TIMES = (1, 2, 5, 10)
LEAST_S = 6
WARM_S = 2.0
GOODPUT = (
    "turns answered per second at 10 times the capacity against the most at any load (goodput)"
)
WAIT = "p99 of answered turns at 10 times the capacity against what a turn may wait and take (time)"
AIM_GOODPUT = ">= 0.9"
AIM_WAIT = "<= 1"


class Came(msgspec.Struct, frozen=True):
    """What came of a load after its warm-up: turns answered and refused per second, and the p99 of the answered in seconds."""

    answered_per_s: float
    refused_per_s: float
    p99_s: float


def measure(_: int, for_s: int) -> list[Measured]:
    """The capacity with as many clients as may wait, then open loops at multiples of it."""
    for_s = max(3 * for_s, LEAST_S)
    settings = AdmissionSettings()
    capacity = _load(Clients(4 * settings.model.at_once, for_s), for_s).answered_per_s
    came = {times: _load(Rates([Stage(times * capacity, for_s)]), for_s) for times in TIMES}
    most = max(capacity, *(each.answered_per_s for each in came.values()))
    worst = came[max(TIMES)]
    note = (
        f"one gateway per load; a model that takes {MODEL_S} s, {settings.model.at_once} at once;"
        f" {for_s} s each, the first {WARM_S:.0f} not counted"
    )
    return [
        Measured(
            part=PART,
            what=GOODPUT,
            ratio=worst.answered_per_s / most,
            aim=AIM_GOODPUT,
            values={"capacity/s": capacity}
            | {f"answered/s at {times}": each.answered_per_s for times, each in came.items()}
            | {f"refused/s at {times}": each.refused_per_s for times, each in came.items()},
            note=note,
        ),
        Measured(
            part=PART,
            what=WAIT,
            ratio=worst.p99_s / (settings.wait_s + MODEL_S),
            aim=AIM_WAIT,
            values={f"p99 s at {times}": each.p99_s for times, each in came.items()},
        ),
    ]


def _load(shape: Clients | Rates, for_s: int) -> Came:
    with (
        server("bench.turn_server", str(MODEL_S)) as (port, token, _),
        tempfile.TemporaryDirectory(prefix="bench-load-") as name,
    ):
        turn = post("/v1/turn", token, '{"text": "where is the key of the boat"}')
        run_load(int(port), shape, [turn], Path(name))
        return _came(Path(name), for_s)


class _Sent(msgspec.Struct):
    seq: int
    sent_ms: float


class _Done(msgspec.Struct):
    seq: int
    done_ms: float
    status: int | None = None


def _came(directory: Path, for_s: int) -> Came:
    sent = {row.seq: row.sent_ms for row in _rows(directory / "requests.bench.jsonl", _Sent)}
    done = _rows(directory / "responses.bench.jsonl", _Done)
    begin_ms = min(sent.values()) + WARM_S * 1000
    end_ms = begin_ms + (for_s - WARM_S) * 1000
    within = [row for row in done if begin_ms <= row.done_ms < end_ms]
    took_s = [(row.done_ms - sent[row.seq]) / 1000 for row in within if row.status == 200]
    refused = sum(row.status == 503 for row in within)
    if len(took_s) + refused < len(within):
        raise RuntimeError("a turn was neither answered nor refused")
    return Came(
        len(took_s) / (for_s - WARM_S), refused / (for_s - WARM_S), quantiles(took_s, n=100)[-1]
    )


def _rows(path: Path, form: type[T]) -> list[T]:
    return [msgspec.json.decode(line, type=form) for line in path.read_bytes().splitlines()]
