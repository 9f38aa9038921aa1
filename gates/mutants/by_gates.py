"""Gates as killers: each is asked about mutants of the code that it says implements its claim."""

from collections.abc import Sequence

import msgspec

from chaos.errors import HarnessError
from gates.mutants.asking import Asking
from gates.mutants.drawing import Drawn, Modules, executed
from gates.mutants.evaluate import Finding
from gates.mutants.gate_runs import LIMIT_FACTOR, LIMIT_S, Attack, Measuring, Reach
from gates.mutants.mutations import Mutation
from gates.run.session import exercise
from gates.run.store import Place, key_of
from gates.spec.guards import Guarded, guarded
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of


class ByGates:
    """The chosen gates of a session."""

    least = 0.9
    enough = 20

    def __init__(self, asking: Asking, project: Project, modules: Modules) -> None:
        self._asking, self._project, self._modules = asking, project, modules
        self._seconds: dict[str, float] = {}

    def drawn(self) -> list[Drawn]:
        """Each gate with the mutations of its `guards`; it is run to see which lines it executes."""
        guards: dict[str, Guarded] = {}
        for name in self._asking.session.gates:
            code = guarded(self._project.gates[name].guards, self._project.root)
            if code.lines:
                guards[name] = code
            else:
                self._asking.say(f"{name} names no code under `guards`: nothing is drawn for it")
        if not guards:
            raise HarnessError(
                "no gate names code under `guards`, so there is nothing to draw from"
            )
        possible = {
            name: [
                each
                for each in self._modules.mutations(code.lines)
                if code.covers(each.file, each.line)
            ]
            for name, code in guards.items()
        }
        exercise(self._asking.session)
        reaches = self._reaches(list(guards))
        self._seconds = {name: reach.seconds for name, reach in reaches.items()}
        return [
            Drawn(
                killer=name,
                possible=found,
                reached=[each for each in found if executed(each, reaches[name].lines)],
            )
            for name, found in possible.items()
        ]

    def attacks(self, chosen: Sequence[tuple[str, Mutation]]) -> list[Finding]:
        """Run each gate against its mutants."""
        return self._asking.ask(
            [
                Attack(
                    label=f"{name} {mutation.where}",
                    place=self._place(
                        name,
                        {"file": mutation.file, "changes": msgspec.to_builtins(mutation.changes)},
                    ),
                    gate=name,
                    mutation=mutation,
                    within_s=LIMIT_S + LIMIT_FACTOR * self._seconds[name],
                )
                for name, mutation in chosen
            ]
        )

    def _reaches(self, names: Sequence[str]) -> dict[str, Reach]:
        """What each gate executes. HarnessError when one does not pass by itself."""
        found = self._measured(names, watched=True)
        failed = [name for name, reach in found.items() if reach.status != "PASS"]
        # It may be too slow for a gate that its lines are watched.
        for name, reach in self._measured(failed, watched=False).items():
            if reach.status != "PASS":
                raise HarnessError(
                    f"{name} is {reach.status} without any mutant, so it shows nothing: {reach.detail}"
                )
            found[name] = msgspec.structs.replace(found[name], seconds=reach.seconds)
        for name, reach in found.items():
            if not reach.lines:
                raise HarnessError(
                    f"{name} was not seen to execute any line of its target's `source`"
                )
        return found

    def _measured(self, names: Sequence[str], *, watched: bool) -> dict[str, Reach]:
        found = self._asking.ask(
            [
                Measuring(
                    label=f"{name} as it is",
                    place=self._place(name, {"healthy": True, "watched": watched}),
                    gate=name,
                    watched=watched,
                )
                for name in names
            ]
        )
        return {reach.gate: reach for reach in found}

    def _place(self, name: str, what: object) -> Place:
        """Where the result of a run of a gate is kept: by a digest of all that it depends on."""
        gate, session = self._project.gates[name], self._asking.session
        parts = {
            "inputs": session.inputs,
            "gate": sha256_of(gate),
            "target": self._project.target_digest(gate.target),
            "seed": session.options.seed,
            "what": what,
        }
        return self._asking.place(key_of(name, parts))
