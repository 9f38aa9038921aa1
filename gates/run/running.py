"""Gates as tasks: each is run, judged at once, and run again where the host was too slow to measure on."""

from rich.console import Console

from gates.judge.integrity import MOST_ATTEMPTS
from gates.judge.result import GateVerdict
from gates.run.bench import Bench, Said, Task
from gates.run.session import Session, plan_of
from gates.run.tasks import spread


class GateRun(Task[list[GateVerdict]], frozen=True, kw_only=True):
    """One run of one gate; while it is UNKNOWN by the host it is repeated, alone, until it has had its `attempts`."""

    gives = list[GateVerdict]
    gate: str
    repeat: int
    attempts: int

    def do(self, bench: Bench) -> list[GateVerdict]:
        """Run it and judge its evidence; the verdicts on all attempts."""
        gate = bench.project.thaw(self.gate)
        verdicts: list[GateVerdict] = []
        while not verdicts or (verdicts[-1].cause == "host" and len(verdicts) < self.attempts):
            attempt = len(verdicts) + 1
            plan = plan_of(bench.session, bench.project, gate, self.repeat, attempt)
            bench.carry_out(gate, plan, alone=attempt > 1)
            verdicts.append(bench.judge(gate, plan.directory, plan.run_id))
        return verdicts

    def said(self, result: list[GateVerdict]) -> Said:
        """Its verdict, and why where it is not PASS."""
        last = result[-1]
        reasons = [last.detail] if last.status != "PASS" else []
        return Said(last.status, self.label, reasons, tries=len(result))

    def failure(self, result: list[GateVerdict]) -> str | None:
        """The reasons of anything but PASS, a line for each."""
        last = result[-1]
        return None if last.status == "PASS" else "\n".join(last.reasons)


def gate_runs(session: Session) -> list[GateRun]:
    """All of a session, in its order. Where each is repeated anyway, none is because the host was slow."""
    times = session.options.repeat
    return [
        GateRun(
            label=f"{listed.id} {name}" + (f" [{repeat + 1}/{times}]" if times > 1 else ""),
            words=(listed.id, name, listed.class_),
            gate=name,
            repeat=repeat,
            attempts=MOST_ATTEMPTS if times == 1 else 1,
        )
        for name, listed in ((name, session.listed[name]) for name in session.order)
        for repeat in range(times)
    ]


def run_gates(
    session: Session, console: Console, *, first: bool
) -> tuple[dict[str, list[str]], bool]:
    """Run the session's gates, with `first` until one does not pass.

    Returns by gate how its runs were judged right afterwards, and whether it was interrupted.
    """
    runs = gate_runs(session)
    done = spread(session, runs, console, expression=session.options.expression, first=first)
    verdicts: dict[str, list[str]] = {}
    for run, attempts in zip(runs, done.results, strict=True):
        if attempts is not None:
            verdicts.setdefault(run.gate, []).extend(verdict.status for verdict in attempts)
    return verdicts, done.interrupted
