"""What can be known to be wrong with a target before it is started."""

import re
from collections.abc import Iterator
from pathlib import Path as Folder

import msgspec

from chaos.engine import commands
from chaos.errors import Problem
from chaos.evidence import schema
from chaos.spec import patterns
from chaos.spec.document import Document, Path
from chaos.spec.loader import closest
from chaos.spec.target import ProcessSpec, Target
from gates.judge.lint import judged_queries, query_problems
from gates.lint.steps import StepsLint, located, place_problem, target_variables
from gates.lint.variables import VariablesLint, complain_about_unknown
from gates.spec.assertion import Judged
from gates.spec.braces import without_variables
from gates.spec.edits import is_source
from gates.spec.views import named_views

_PROCESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READY = re.compile(r"tcp|GET\s+/\S*")


def lint_target(target: Target, document: Document, root: Folder) -> list[Problem]:
    """Everything wrong with one target of the project in `root`."""
    before = len(document.problems)
    for index, source in enumerate(target.source):
        if not is_source(root / source, ["."], root):
            document.problem(("source", index), f"{source!r} is not in the project")
    _TargetLint(target, document).run()
    found = document.problems[before:]
    del document.problems[before:]
    return found


def judged_views(target: Target) -> Judged:
    """The views of a target, as what is judged."""
    collected = {declared.table: declared.columns for declared in target.collect}
    return judged_queries(named_views(target.views), collected)


class _TargetLint:
    def __init__(self, target: Target, document: Document) -> None:
        self.target = target
        self.document = document

    def run(self) -> None:
        if not self.target.processes:
            self.document.problem(("processes",), "a target has at least one process")
        self._commands()
        self._processes()
        self._environment()
        self._links()
        self._collected()
        self._views()
        self._patterns()
        self._captures()
        self._variables()
        exercise = self.target.exercise
        StepsLint(self.target, self.document).run(list(located(exercise, ("exercise",))))
        VariablesLint(self.document, {}).run(
            ((("exercise",), exercise),), target_variables(self.target)
        )

    def _commands(self) -> None:
        written: list[tuple[Path, str]] = [
            *((("prepare", at), one.run) for at, one in enumerate(self.target.prepare)),
            *(
                (("processes", name), one.run)
                for name, one in self.target.processes.items()
                if one.child_of is None
            ),
        ]
        for path, command in written:
            problem = commands.problem(command)
            if problem is not None:
                self.document.problem((*path, "run"), problem)

    def _processes(self) -> None:
        for name, process in self.target.processes.items():
            if not _PROCESS.fullmatch(name):
                message = (
                    f"the name of a process becomes part of a file's name, so it cannot be {name!r}"
                )
                self.document.problem(("processes", name), message)
            self._child(("processes", name), name, process)
            if not _READY.fullmatch(process.ready):
                message = f"expected `tcp` or something like `GET /readyz`, not {process.ready!r}"
                self.document.problem(("processes", name, "ready"), message)
            if not 0 < process.port < 65536:
                message = f"a port is a number from 1 to 65535, not {process.port}"
                self.document.problem(("processes", name, "port"), message)

    def _child(self, path: Path, name: str, process: ProcessSpec) -> None:
        """A process that another one starts says nothing of how it is started."""
        if process.child_of is None:
            return
        parent = self.target.processes.get(process.child_of)
        if parent is None or process.child_of == name:
            message = f"{name!r} cannot be child of {process.child_of!r}, which is no other process"
            hint = closest(process.child_of, self.target.processes.keys() - {name})
            self.document.problem((*path, "child_of"), message, hint)
        elif parent.child_of is not None:
            message = f"{process.child_of} is a child itself: say who is started by the harness"
            self.document.problem((*path, "child_of"), message)
        for key in ("run", "env"):
            if getattr(process, key):
                message = f"{process.child_of} starts {name}, so it says with which `{key}`"
                self.document.problem((*path, key), message)

    def _environment(self) -> None:
        for index, name in enumerate(self.target.environment):
            if not _VARIABLE.fullmatch(name):
                message = f"expected the name of an environment variable, not {name!r}"
                self.document.problem(("environment", index), message)

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
            problem = link.probe.problem() if link.probe is not None else None
            if problem is not None:
                self.document.problem(("links", name, "probe"), problem)
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

    def _views(self) -> None:
        for one in query_problems(judged_views(self.target)):
            place = ("views", *one.place[1:])
            self.document.problem(place, one.message, one.hint, offset=one.offset)

    def _patterns(self) -> None:
        for index, pattern in enumerate(self.target.redact):
            problem = patterns.problem(pattern)
            if problem is not None:
                self.document.problem(("redact", index), problem)

    def _captures(self) -> None:
        for index, prepare in enumerate(self.target.prepare):
            for name, place in prepare.capture.items():
                problem = place_problem(place)
                if problem is not None:
                    self.document.problem(("prepare", index, "capture", name), problem)

    def _variables(self) -> None:
        known = target_variables(self.target)
        for path, value in self._filled():
            complain_about_unknown(value, path, self.document, known)
        for name, link in self.target.links.items():
            place = ("links", name, "env_value")
            complain_about_unknown(link.env_value, place, self.document, ("host", "port"))
        for path, text in self._unfilled():
            without_variables(text, path, self.document)

    def _unfilled(self) -> Iterator[tuple[Path, str]]:
        """Every text that a run takes as it is."""
        for name, actor in self.target.actors.items():
            yield ("actors", name, "role"), actor.role or ""
        for name, process in self.target.processes.items():
            yield ("processes", name, "ready"), process.ready

    def _filled(self) -> Iterator[tuple[Path, object]]:
        """Every value in which a run replaces variables, besides its link check."""
        target = self.target
        yield ("config",), target.config or ""
        for index, prepare in enumerate(target.prepare):
            yield ("prepare", index, "run"), prepare.run
        for name, actor in target.actors.items():
            yield ("actors", name, "bearer"), actor.bearer or ""
            yield ("actors", name, "headers"), actor.headers
        for name, process in target.processes.items():
            yield ("processes", name, "run"), process.run
            yield ("processes", name, "env"), process.env
        for name, link in target.links.items():
            yield ("links", name, "probe"), msgspec.to_builtins(link.probe)
        for index, table in enumerate(target.collect):
            yield ("collect", index, "sqlite"), table.sqlite or ""
            yield ("collect", index, "jsonl"), table.jsonl or ""
            yield ("collect", index, "sql"), table.sql or ""
