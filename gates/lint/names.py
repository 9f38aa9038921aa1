"""Whether the texts that SQL compares with columns of evidence can stand there: names of a gate's steps, and words of the harness."""

from collections.abc import Iterable, Iterator, Mapping

from chaos.engine.plan import CONTROL, SCENARIO, walk
from chaos.evidence import schema
from chaos.faults import FAULTS
from chaos.spec.loader import closest
from chaos.spec.step import Bearer
from chaos.spec.target import Target
from chaos.spec.variables import could_be, placeholders
from chaos.steps import KINDS
from gates.judge.lint import Complaint, place_of
from gates.judge.problem import Text
from gates.lint.steps import actors_of
from gates.spec.gate import Gate

Names = Mapping[str, frozenset[str]]
"""What may stand in a column, by `table.column`; a name with variables stands for all that it may become."""

_MOST_LISTED = 6
_PROCESSES = ("processes", "process_samples", "sockets", "hammers", "requests", "frames")
_LINKS = (
    "requests", "frames", "links", "faults", "link_probes", "link_connections", "link_flows", "link_bypasses",
)  # fmt: skip


def names_in(gate: Gate, target: Target) -> Names:
    """What may stand in the columns of a run of one gate, as far as its spec tells."""
    found: dict[str, set[str]] = {
        column: set() for kind in KINDS.values() for column in kind.records
    }
    found |= {column: set() for column in ("steps.step", "steps.name", "requests.actor")}
    for prefix, steps in ((CONTROL, gate.control), (SCENARIO, gate.scenario)):
        for step_id, step in walk(tuple(steps), prefix):
            found["steps.step"].add(step_id)
            found["steps.name"] |= {step.name} if step.name else set()
            for column, field in KINDS[type(step)].records.items():
                found[column].add(getattr(step, field) or step_id)
            for _, actor in actors_of(step, ()):
                found["requests.actor"] |= _labels(actor, target)
    found["frames.actor"] = found["requests.actor"]
    found["steps.kind"] = {kind.name for kind in KINDS.values()}
    found["faults.kind"] = set(FAULTS)
    found |= {f"{table}.process": set(target.processes) for table in _PROCESSES}
    found |= {f"{table}.link": set(target.links) for table in _LINKS}
    return {column: frozenset(names) for column, names in found.items()}


def _labels(actor: str | Bearer, target: Target) -> set[str]:
    """What evidence calls who is named there; one that is a variable is some actor of the target."""
    if isinstance(actor, Bearer):
        return {actor.label}
    return set(target.actors) if any(placeholders(actor)) else {actor}


def joined(several: Iterable[Names]) -> Names:
    """What may stand there in a run of any of several gates."""
    found: dict[str, frozenset[str]] = {}
    for names in several:
        found = {column: own | found.get(column, frozenset()) for column, own in names.items()}
    return found


def misspelt(texts: Iterable[Text], names: Names) -> Iterator[Complaint]:
    """Every text that no row can have in the column that it is compared with. The empty one says that there is none."""
    for one in texts:
        words = schema.admissible(one.table).get(one.column, (False, ()))[1]
        known = names.get(f"{one.table}.{one.column}", frozenset(words) or None)
        if (
            one.ordered
            or known is None
            or not one.text
            or any(could_be(name, one.text) for name in known)
        ):
            continue
        near = closest(one.text, sorted(known))
        listed = ", ".join(map(repr, sorted(known)))
        only = f": there is only {listed}" if known else ": there is none in this gate"
        told = "" if near or len(known) > _MOST_LISTED else only
        message = f"no row of {one.table} has the {one.column} {one.text!r}{told}"
        yield Complaint(place_of(one.where), message, near, one.offset)
