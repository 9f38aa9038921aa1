"""How stable gates are, from several runs of each: how many of each verdict, and how much their durations differ."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from gates.judge import binomial
from gates.release.report import GateReport

WORST = ("FAIL", "UNKNOWN", "PASS")


class Stability(Struct, frozen=True, kw_only=True):
    """One gate over its runs. `by_host` of the unknown ones were so because the host was slow; durations are seconds."""

    id: str
    name: str
    runs: int
    verdicts: dict[str, int]
    by_host: int
    shortest_s: float
    median_s: float
    longest_s: float

    @property
    def worst(self) -> str:
        """FAIL where one failed, else UNKNOWN where one was so, else PASS."""
        return next((status for status in WORST if self.verdicts.get(status)), "UNKNOWN")

    @property
    def excluded(self) -> str:
        """`below 40 %`: how often, with 95 % confidence, it comes to anything but PASS at most."""
        bad = self.runs - self.verdicts.get("PASS", 0)
        share = binomial.highest_share(bad, self.runs)
        return f"below {math.ceil(round(share * 100, 6))} %" if share < 1 else "anything"

    def told(self) -> str:
        """`18 PASS, 2 UNKNOWN (1 by the host)`."""
        parts = []
        for status, number in sorted(self.verdicts.items(), key=lambda item: -item[1]):
            host = f" ({self.by_host} by the host)" if status == "UNKNOWN" and self.by_host else ""
            parts.append(f"{number} {status}{host}")
        return ", ".join(parts)


def stability_of(gates: Sequence[GateReport]) -> list[Stability]:
    """One entry per gate, in the order in which they come. Of a run that left no end there is no duration."""
    by_name: dict[str, list[GateReport]] = {}
    for gate in gates:
        by_name.setdefault(gate.name, []).append(gate)
    return [_of(runs) for runs in by_name.values()]


def _of(runs: Sequence[GateReport]) -> Stability:
    took_s = [gate.duration_s for gate in runs if gate.duration_s > 0] or [0.0]
    return Stability(
        id=runs[0].id,
        name=runs[0].name,
        runs=len(runs),
        verdicts=dict(Counter(gate.status for gate in runs)),
        by_host=sum(gate.cause == "host" for gate in runs),
        shortest_s=min(took_s),
        median_s=statistics.median(took_s),
        longest_s=max(took_s),
    )
