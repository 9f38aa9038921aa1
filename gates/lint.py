"""What can be known to be wrong with a gate before it is run. Every complaint has its place."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from chaos.engine.plan import children
from chaos.errors import Problem, in_order
from chaos.evidence import schema
from chaos.faults import impossible
from chaos.faults.base import FaultStep
from chaos.spec.document import Document
from chaos.spec.loader import closest
from chaos.spec.matching import pattern_problem
from chaos.spec.step import Bearer, Send, Step
from chaos.spec.target import Target
from chaos.spec.variables import placeholders
from chaos.steps import KINDS
from chaos.steps.await_ import Await
from chaos.steps.clear import Clear
from chaos.steps.load import Load
from chaos.steps.repeat import Repeat
from gates.defects import defect_problems
from gates.judge.lint import sql_problems
from gates.judged import judged_of
from gates.project import Project
from gates.spec.gate import Gate

Path: TypeAlias = tuple[str | int, ...]

BUILTIN_VARIABLES = frozenset({"python", "state", "root", "host", "seed", "i"})
READING_KINDS = frozenset({"request", "await", "run", "repeat", "parallel", "pause", "use"})
PROCESS_FIELDS: Mapping[str, str] = {
    "start": "start",
    "kill": "kill",
    "hammer": "hammer",
    "clock": "clock",
}


def lint(project: Project) -> list[Problem]:
    """Everything wrong with the project's specs, in the order of files and lines."""
    problems = list(project.problems)
    for name, target in project.targets.items():
        problems += _TargetLint(target, project.target_documents[name]).problems()
    for gate in project.gates.values():
        problems += lint_gate(gate, project)
    return in_order(problems)


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


class _TargetLint:
    def __init__(self, target: Target, document: Document) -> None:
        self.target = target
        self.document = document

    def problems(self) -> list[Problem]:
        before = len(self.document.problems)
        self._links()
        self._collected()
        self._variables()
        found = self.document.problems[before:]
        del self.document.problems[before:]
        return found

    def _links(self) -> None:
        target = self.target
        if target.default is not None and target.default not in target.processes:
            self.document.problem(("default",), f"unknown process {target.default!r}")
        for name, link in target.links.items():
            if link.to not in target.processes:
                self.document.problem(
                    ("links", name, "to"),
                    f"unknown process {link.to!r}",
                    closest(link.to, target.processes),
                )
            if "->" not in name:
                self.document.problem(
                    ("links", name), f"a link is named like `client->server`, not {name!r}"
                )

    def _collected(self) -> None:
        for index, declared in enumerate(self.target.collect):
            place: Path = ("collect", index)
            if declared.table in schema.TABLES:
                self.document.problem(
                    (*place, "table"), f"{declared.table!r} is a table of the harness's own"
                )
            if (declared.sqlite is None) == (declared.jsonl is None):
                self.document.problem(place, "name exactly one source, `sqlite` or `jsonl`")
            for column, kind in declared.columns.items():
                if kind not in schema.COLLECTED_TYPES:
                    known = ", ".join(schema.COLLECTED_TYPES)
                    self.document.problem(
                        (*place, "columns", column), f"unknown type {kind!r}; types are {known}"
                    )

    def _variables(self) -> None:
        known = target_variables(self.target)
        for name, actor in self.target.actors.items():
            for used in placeholders(actor.bearer or ""):
                if used not in known:
                    message = f"unknown variable {used!r}"
                    self.document.problem(("actors", name, "bearer"), message, closest(used, known))


def target_variables(target: Target) -> set[str]:
    """Names of all variables that a target sets before the first step."""
    known = set(BUILTIN_VARIABLES)
    known |= {f"{kind}.{name}" for kind in ("port", "url") for name in target.processes}
    return known.union(*(prepare.capture for prepare in target.prepare))


class _GateLint:
    def __init__(self, gate: Gate, target: Target, project: Project, document: Document) -> None:
        self.gate = gate
        self.target = target
        self.project = project
        self.document = document
        self.steps = list(_located(gate.control, ("control",))) + list(
            _located(gate.scenario, ("scenario",))
        )

    def run(self) -> None:
        self._frame()
        self._listing()
        self._configuration()
        self._captures_and_variables()
        for path, step, _ in self.steps:
            self._references(path, step)
            self._kind_rules(path, step)
        self._faults()
        self._names()
        self._isolation()
        self._assertions()
        for place, message, hint in defect_problems(self.gate, self.target, self.project.root):
            self.document.problem(place, message, hint)

    def _problem(self, path: Path, message: str, hint: str | None = None) -> None:
        self.document.problem(path, message, hint)

    def _known(self, path: Path, what: str, name: str, known: Mapping[str, object]) -> None:
        if name not in known and not list(placeholders(name)):
            self._problem(
                path,
                f"unknown {what} {name!r} in target {self.target.target!r}",
                closest(name, known),
            )

    def _frame(self) -> None:
        if not self.gate.control:
            self._problem(("control",), "a gate needs at least one control step")
        for index, name in enumerate(self.gate.needs):
            self._known(("needs", index), "process", name, self.target.processes)

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
        for path, step, _ in self.steps:
            changes = getattr(step, "config", None)
            # What a start-up check must refuse is not a way of running the product.
            refused = step.expect is not None and step.expect.exit is not None
            if isinstance(changes, dict) and not refused:
                yield (*path, "config"), changes

    def _captures_and_variables(self) -> None:
        known = target_variables(self.target)
        known = known.union(*(step.capture for _, step, _ in self.steps))
        for path, step, bound in self.steps:
            here = known | bound | _own_variables(step)
            for place, used in _used_variables(step, path):
                if used not in here and used.partition(".")[0] not in here:
                    self._problem(place, f"unknown variable {used!r}", closest(used, here))

    def _references(self, path: Path, step: Step) -> None:
        kind = KINDS[type(step)].name
        if step.to is not None:
            self._known((*path, "to"), "process", step.to, self.target.processes)
        if step.via is not None:
            self._known((*path, "via"), "link", step.via, self.target.links)
        if kind in PROCESS_FIELDS:
            self._known((*path, kind), "process", getattr(step, kind), self.target.processes)
        if isinstance(step, FaultStep):
            self._known((*path, kind), "link", step.link, self.target.links)
        for place, actor in _actors(step, path):
            if isinstance(actor, str):
                self._known(place, "actor", actor, self.target.actors)

    def _kind_rules(self, path: Path, step: Step) -> None:
        for place, send in _sends(step, path):
            try:
                send.target()
            except ValueError as error:
                self._problem(place, str(error))
        if step.expect is not None:
            for field in step.expect.__struct_fields__:
                problem = pattern_problem(getattr(step.expect, field))
                if problem is not None:
                    self._problem((*path, "expect", field), problem)
        if isinstance(step, Await) and step.expect is None:
            self._problem(path, "`await` needs an `expect`")
        if isinstance(step, Repeat) and (step.repeat in (0, {})):
            self._problem((*path, "repeat"), "repeats nothing")

    def _faults(self) -> None:
        faults = [(path, step) for path, step, _ in self.steps if isinstance(step, FaultStep)]
        clears = [(path, step) for path, step, _ in self.steps if isinstance(step, Clear)]
        cleared = {step.clear for _, step in clears}
        named: set[str] = set()
        for path, step in faults:
            self._fault(path, step, cleared)
            if step.name in named:
                self._problem((*path, "name"), f"there is another fault named {step.name!r}")
            named.add(step.name or "")
        for path, clear in clears:
            if clear.clear not in named:
                hint = closest(clear.clear, named)
                self._problem((*path, "clear"), f"there is no fault named {clear.clear!r}", hint)

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
        for name, count in Counter(
            step.load for _, step, _ in self.steps if isinstance(step, Load)
        ).items():
            if count > 1:
                self._problem(("scenario",), f"{count} loads are named {name!r}")

    def _isolation(self) -> None:
        if self.gate.isolation != "shared":
            return
        for path, step, _ in self.steps:
            kind = KINDS[type(step)].name
            if kind not in READING_KINDS:
                self._problem(path, f"a gate on a shared stack only reads: no {kind!r} step")

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
        for place, message, hint in sql_problems(
            judged_of(self.gate, self.target), exclusive=self.gate.exclusive
        ):
            self._problem(place, message, hint)


def _located(
    steps: list[Step], path: Path, bound: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, Step, frozenset[str]]]:
    """Every step with its place and the variables that steps around it bind."""
    for index, step in enumerate(steps):
        here = (*path, index)
        yield here, step, bound
        inner = bound
        if isinstance(step, Repeat):
            inner = bound | (
                frozenset({"i"}) if isinstance(step.repeat, int) else frozenset(step.repeat)
            )
        if with_ := getattr(step, "with_", None):
            inner = inner | frozenset(with_)
        for place, branch in children(step):
            parts = tuple(int(part) if part.isdigit() else part for part in place.split("."))
            yield from _located(list(branch), (*here, *parts), inner)


def _own_variables(step: Step) -> set[str]:
    """Variables that a kind of step sets itself, for what it sends."""
    names: object = getattr(type(step), "VARIABLES", ())
    return set(names) if isinstance(names, tuple | frozenset) else set()


def _used_variables(step: Step, path: Path) -> Iterator[tuple[Path, str]]:
    inner = {place.partition(".")[0] for place, _ in children(step)}
    for field in msgspec.structs.fields(step):
        if field.name in inner:
            continue
        value = msgspec.to_builtins(getattr(step, field.name), enc_hook=str)
        for used in placeholders(value):
            yield (*path, field.encode_name), used


def _sends(step: Step, path: Path) -> Iterator[tuple[Path, Send]]:
    for field in msgspec.structs.fields(step):
        value = getattr(step, field.name)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Send):
                place: Path = (
                    *path,
                    field.encode_name,
                    *((index,) if isinstance(value, list) else ()),
                )
                yield place, item


def _actors(step: Step, path: Path) -> Iterator[tuple[Path, str | Bearer]]:
    if step.as_ is not None:
        yield (*path, "as"), step.as_
    for place, send in _sends(step, path):
        if send.as_ is not None:
            yield (*place, "as"), send.as_


def _flat(
    changes: Mapping[str, object], path: Path, prefix: str = ""
) -> Iterator[tuple[str, Path]]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, key), f"{prefix}{key}.")
        else:
            yield prefix + key, (*path, key)
