"""What can be known to be wrong with specs before anything is run. Every complaint has its place."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from chaos.engine.plan import CONTROL, SCENARIO, walk
from chaos.errors import Problem, in_order
from chaos.faults import impossible
from chaos.faults.base import FaultStep
from chaos.spec.document import Document, Path
from chaos.spec.kind import Noun
from chaos.spec.loader import closest
from chaos.spec.target import Target
from chaos.steps import KINDS
from gates.judge.lint import Complaint, sql_problems, texts_of
from gates.judge.verdict import host_of
from gates.lint.bounds import bounds_problems
from gates.lint.names import joined, misspelt, names_in
from gates.lint.scenario import lint_scenarios, lint_uses
from gates.lint.steps import StepsLint, located, target_variables
from gates.lint.style import data_problems, expect_problems, guards_problems, length_problems
from gates.lint.target import judged_views, lint_target
from gates.lint.variables import VariablesLint, complain_about_unknown
from gates.spec.assertion import Judged
from gates.spec.defects import defect_problems
from gates.spec.gate import Gate
from gates.spec.project import Project
from gates.spec.snapshot import judged_of, rows_by_name

LIST_AND_PLACE = 2


def lint(project: Project) -> list[Problem]:
    """Everything wrong with the project's specs, in the order of files and lines."""
    problems = [*project.problems, *lint_release(project)]
    for name, target in project.targets.items():
        problems += lint_target(target, project.target_documents[name], project.root)
        problems += lint_names_in_views(target, project)
    problems += lint_scenarios(project)
    for gate in project.gates.values():
        problems += lint_gate(gate, project)
    return in_order(problems)


def lint_release(project: Project) -> list[Problem]:
    """Whether the release counts its gates right, each of them once."""
    release, document = project.release, project.release_document
    if release is None or document is None:
        return []
    before = len(document.problems)
    for key, wanted in (("floor", release.floor), ("delta", release.delta)):
        listed = sum(gate.class_ == key for gate in release.gates)
        if listed != wanted:
            document.problem((key,), f"{listed} gates of this class are listed, not {wanted}")
    for key, names in (
        ("id", [gate.id for gate in release.gates]),
        ("gate", [gate.gate for gate in release.gates]),
        ("id", [invariant.id for invariant in release.invariants]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                document.problem(("gates",), f"{key} {name!r} is listed {count} times")
    found = document.problems[before:]
    del document.problems[before:]
    return found


def lint_names_in_views(target: Target, project: Project) -> list[Problem]:
    """What a target's views compare with columns, and no run of any gate of it can have there."""
    gates = [gate for gate in project.gates.values() if gate.target == target.target]
    document = project.target_documents[target.target]
    before = len(document.problems)
    names = joined(names_in(gate, target) for gate in gates)
    for one in misspelt(texts_of(judged_views(target)), names) if gates else ():
        place = ("views", *one.place[1:])
        document.problem(place, one.message, one.hint, offset=one.offset)
    found = document.problems[before:]
    del document.problems[before:]
    return found


def lint_gate(gate: Gate, project: Project) -> list[Problem]:
    """Everything wrong with one gate."""
    document = project.documents[gate.gate]
    before = len(document.problems)
    target = project.targets.get(gate.target)
    if target is None:
        document.problem(
            ("target",), f"unknown target {gate.target!r}", closest(gate.target, project.targets)
        )
    else:
        _GateLint(gate, target, project, document).run()
    found = document.problems[before:]
    del document.problems[before:]
    return found


class _GateLint:
    def __init__(self, gate: Gate, target: Target, project: Project, document: Document) -> None:
        self.gate = gate
        self.target = target
        self.project = project
        self.document = document
        self.steps = [
            *located(gate.control, ("control",)),
            *located(gate.scenario, ("scenario",)),
        ]

    def run(self) -> None:
        self._frame()
        self._listing()
        self._configuration()
        self._own_steps()
        self._faults()
        self._names()
        self._isolation()
        self._exclusive()
        self._assertions()
        self._tell(bounds_problems(self.gate, self.project.bounds))
        self._style()
        for one in defect_problems(self.gate, self.target, self.project.root):
            self.document.problem(one.place, one.message, one.hint, severity=one.severity)

    def _problem(self, path: Path, message: str, hint: str | None = None) -> None:
        self.document.problem(path, message, hint)

    def _frame(self) -> None:
        if not self.gate.control:
            self._problem(("control",), "a gate needs at least one control step")
        for key, names in (("needs", self.gate.needs), ("exits", self.gate.exits)):
            for index, name in enumerate(names):
                if name not in self.target.processes:
                    message = f"unknown process {name!r} in target {self.target.target!r}"
                    self._problem((key, index), message, closest(name, self.target.processes))

        for index, name in enumerate(self.gate.needs):
            process = self.target.processes.get(name)
            parent = process.child_of if process is not None else None
            if parent is not None and parent not in self.gate.needs:
                self._problem(
                    ("needs", index), f"{name} is started by {parent}: the gate needs that"
                )

    def _listing(self) -> None:
        release = self.project.release
        if release is None or release.target != self.gate.target:
            return
        listed = {gate.gate: gate for gate in release.gates}
        if self.gate.gate not in listed:
            self._problem(
                ("gate",),
                f"release.yaml lists no gate {self.gate.gate!r}",
                closest(self.gate.gate, listed),
            )
            return
        entry = listed[self.gate.gate]
        for key, here, there in (
            ("id", self.gate.id, entry.id),
            ("class", self.gate.class_, entry.class_),
        ):
            if here != there:
                self._problem(
                    (key,), f"release.yaml lists this gate with {key} {there!r}, not {here!r}"
                )

    def _configuration(self) -> None:
        allowed = self.project.release.config if self.project.release is not None else {}
        for path, changes in self._configured():
            for key, place in _flat(changes, path):
                if key not in allowed:
                    message = f"release.yaml does not allow gates to set {key!r}"
                    self._problem(place, message, closest(key, allowed))

    def _configured(self) -> Iterator[tuple[Path, Mapping[str, object]]]:
        yield ("config",), self.gate.config
        for path, step in self.steps:
            changes = getattr(step, "config", None)
            # What a start-up check must refuse is not a way of running the product.
            refused = step.expect is not None and step.expect.exit is not None
            if isinstance(changes, dict) and not refused:
                yield (*path, "config"), changes

    def _own_steps(self) -> None:
        """Steps and variables of the gate itself; scenarios have their own lint."""
        known = target_variables(self.target)
        complain_about_unknown(self.gate.config, ("config",), self.document, known)
        lists = ((("control",), self.gate.control), (("scenario",), self.gate.scenario))
        for path, steps in lists:
            own = list(located(steps, path, written=True))
            StepsLint(self.target, self.document).run(own)
            lint_uses(own, self.project, self.target, self.document)
        VariablesLint(self.document, rows_by_name(self.gate)).run(lists, known)

    def _faults(self) -> None:
        faults = [(path, step) for path, step in self.steps if isinstance(step, FaultStep)]
        cleared = list(self._named("fault"))
        named: set[str] = set()
        for path, step in faults:
            self._fault(path, step, {name for _, name in cleared})
            if step.name in named:
                self._problem((*path, "name"), f"there is another fault named {step.name!r}")
            named.add(step.name or "")
        for path, name in cleared:
            if name not in named:
                self._problem(path, f"there is no fault named {name!r}", closest(name, named))

    def _named(self, noun: Noun) -> Iterator[tuple[Path, str]]:
        """What the steps name of one sort."""
        for path, step in self.steps:
            for place, name in KINDS[type(step)].named(step, noun):
                yield (*path, *place), name

    def _fault(self, path: Path, step: FaultStep, cleared: set[str]) -> None:
        if not step.name:
            self._problem(path, "a fault needs a `name`: assertions and `during` speak of it")
        if step.for_ is None and step.name not in cleared:
            self._problem(path, "this fault never ends: give it a `for`, or `clear` it later")
        link = self.target.links.get(step.link)
        reason = impossible(step, link) if link is not None else None
        if reason is not None:
            self._problem(path, f"this fault could never be proven: {reason}")

    def _names(self) -> None:
        for name, count in Counter(name for _, name in self._named("load")).items():
            if count > 1:
                self._problem(("scenario",), f"{count} loads are named {name!r}")

    def _isolation(self) -> None:
        if self.gate.isolation != "shared":
            return
        for path, step in self.steps:
            kind = KINDS[type(step)]
            if not kind.only_reads:
                self._problem(path, f"a gate on a shared stack only reads: no {kind.name!r} step")

    def _assertions(self) -> None:
        if not self.gate.assert_:
            self._problem(("assert",), "a gate without assertions decides nothing")
        for name, count in Counter(assertion.that for assertion in self.gate.assert_).items():
            if count > 1:
                self._problem(("assert",), f"{count} assertions are called {name!r}")
        killed = {name for defect in self.gate.falsified_by for name in defect.fails}
        for index, assertion in enumerate(self.gate.assert_):
            if assertion.that not in killed and not assertion.killed_by_sham:
                message = f"no defect in `falsified_by` fails {assertion.that!r}, and it does not say `killed_by_sham`"
                self._problem(("assert", index, "that"), message)
        judged = judged_of(self.gate, self.target)
        alone = None if self.gate.exclusive else alone_in(self.gate)
        found = sql_problems(judged, alone=alone, golden=self.gate.golden)
        # What is wrong with a view is told where its target declares it.
        views = [("with", name) for name in self.target.views]
        misnamed = misspelt(texts_of(judged), names_in(self.gate, self.target))
        self._tell(one for one in (*found, *misnamed) if one.place[:2] not in views)
        self._host(judged, alone)

    def _host(self, judged: Judged, alone: frozenset[str] | None) -> None:
        """What is asked of the machine; and what is `timed` in a gate that never asks."""
        if self.gate.host:
            found = sql_problems(host_of(judged), alone=alone, golden=True)
            # The rest is told of the assertions themselves.
            names = names_in(self.gate, self.target)
            own = [
                one
                for one in [*found, *misspelt(texts_of(host_of(judged)), names)]
                if one.place[0] == "assert"
            ]
            self._tell(msgspec.structs.replace(one, place=("host", *one.place[1:])) for one in own)
            return
        for index, assertion in enumerate(self.gate.assert_):
            if assertion.timed and not judged.loads:
                message = "`timed` means nothing without `host` or a load: nothing would tell a slow machine"
                self._problem(("assert", index, "timed"), message)

    def _style(self) -> None:
        root, release = self.project.root, self.project.release
        listed = release is not None and release.target == self.gate.target
        self._tell(length_problems(len(self.document.lines)))
        self._tell(data_problems(self.gate))
        self._tell(expect_problems(self.gate, self.steps))
        self._tell(guards_problems(self.gate, self.target, root, listed=listed))

    def _tell(self, complaints: Iterable[Complaint]) -> None:
        for one in complaints:
            self.document.problem(
                one.place, one.message, one.hint, offset=one.offset, severity=one.severity
            )

    def _exclusive(self) -> None:
        """A turn is waited for between two steps: inside of one, others would have begun."""
        for path, step in self.steps:
            if step.exclusive and len(path) > LIST_AND_PLACE:
                message = "only a step of `control` or `scenario` itself may be `exclusive`"
                self._problem((*path, "exclusive"), message)
            elif step.exclusive and self.gate.exclusive:
                self._problem((*path, "exclusive"), "the whole gate is `exclusive` already")


def alone_in(gate: Gate) -> frozenset[str]:
    """What evidence calls the steps that run with nothing beside them, and the loads among them."""
    alone: set[str] = set()
    names: set[str] = set()
    for prefix, steps in ((CONTROL, gate.control), (SCENARIO, gate.scenario)):
        for step_id, step in walk(tuple(steps), prefix):
            if step.exclusive:
                alone.add(step_id)
            # A list and a place in it: what stands there itself, above all that is inside of it.
            if ".".join(step_id.split(".")[:LIST_AND_PLACE]) in alone:
                loads = (name for _, name in KINDS[type(step)].named(step, "load"))
                names |= {step.name or step_id, *loads}
    return frozenset(names)


def _flat(
    changes: Mapping[str, object], path: Path, prefix: str = ""
) -> Iterator[tuple[str, Path]]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, key), f"{prefix}{key}.")
        else:
            yield prefix + key, (*path, key)
