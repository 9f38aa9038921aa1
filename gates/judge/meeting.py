"""Whether the target's own traffic met a fault: on the link, and while the fault was proven to be on."""

from collections.abc import Collection
from typing import Final

from chaos.evidence.schema import Fault
from gates.judge import tables
from gates.judge.connection import Evidence, RunKey


def _inside(table: str, how: str, where: str, at: str = "NULL, NULL") -> str:
    return (
        f"SELECT DISTINCT f.run_id, f.gate, f.seq, '{how}', {at} FROM {tables.stored('faults')} AS f"
        f" JOIN {tables.stored(table)} AS t USING (run_id, gate) WHERE {where}"
    )


_MET: Final = " UNION ALL ".join(
    [
        _inside(
            "link_connections",
            "opened",
            "t.link = f.link AND t.own AND t.accepted_after_ms >= f.proven_ms AND t.connected_ms <= f.off_ms",
        ),
        # The end of a connection counts as a byte.
        _inside(
            "link_flows",
            "moved",
            "t.link = f.link AND t.fault = f.fault AND (t.sent_bytes > 0 OR t.received_bytes > 1)"
            " AND t.flow_from_ms >= f.proven_ms AND t.flow_to_ms <= f.off_ms",
        ),
        _inside(
            "link_flows",
            "ended",
            "t.link = f.link AND t.fault = f.fault AND t.ended"
            " AND t.flow_from_ms <= f.on_ms AND t.flow_to_ms BETWEEN f.on_ms AND f.off_ms",
        ),
        _inside(
            "requests",
            "exchanged",
            "t.link = f.link AND t.outcome = 'ok' AND t.sent_ms >= f.proven_ms AND t.done_ms <= f.off_ms",
        ),
        _inside(
            "frames",
            "exchanged",
            "t.link = f.link AND t.kind IN ('text', 'binary', 'event', 'comment')"
            " AND t.frame_ms BETWEEN f.proven_ms AND f.off_ms",
        ),
        _inside(
            "requests",
            "asked",
            "t.sent_ms BETWEEN f.proven_ms AND f.off_ms",
            "t.link, t.process",
        ),
        _inside(
            "frames",
            "asked",
            "t.kind IN ('open', 'refused', 'lost') AND t.frame_ms BETWEEN f.proven_ms AND f.off_ms",
            "t.link, t.process",
        ),
    ]
)
"""(fault's seq, how it was met, over which link and to which process it was asked) of every fault of every run."""


def not_met(
    evidence: Evidence, run: RunKey, row: Fault, *, refuses: bool, links: Collection[str]
) -> str | None:
    """None where the target's own traffic met the fault inside its window; otherwise what was missing, and what to do.

    Of a fault that `refuses` connections nobody sees who asked for one. It is met by a connection that it ended, or by
    a request that was sent inside: over the link, or to where `links` lead on from to it.
    """
    met = [
        (how, link, process)
        for seq, how, link, process in evidence.grouped("traffic inside of faults", _MET).get(
            run, []
        )
        if seq == row.seq
    ]
    enough = ("ended",) if refuses else ("opened", "moved", "exchanged")
    askers = _leading_to(row.link, links)
    asked = any(how == "asked" and (link == row.link or to in askers) for how, link, to in met)
    if any(how in enough for how, *_ in met) or (refuses and asked):
        return None
    return _missing(row, refuses=refuses)


def _missing(row: Fault, *, refuses: bool) -> str:
    client = row.link.partition("->")[0]
    when = f"while it was on, from {row.proven_ms or 0:.0f} to {row.off_ms or 0:.0f} ms"
    if refuses:
        return (
            f"nothing of the target's own met it: it ended no open connection of {row.link}, and {when}, no request"
            f" was sent over it or to {client}: send one between the fault and its `clear`"
        )
    untold = "" if row.followed else ", as far as is known (the kernel did not count them)"
    return (
        f"nothing of the target's own met it: {when}, no connection of {row.link} was opened and no bytes moved"
        f" on one that was open{untold}: let {client} use the link between the fault and its `clear`"
    )


def _leading_to(link: str, links: Collection[str]) -> set[str]:
    """Where a link begins, and where links begin that lead there."""
    found = set[str]()
    news = {link.partition("->")[0]}
    while news:
        found |= news
        news = {one.partition("->")[0] for one in links if one.partition("->")[2] in news} - found
    return found
