"""The project of a session, in which nothing is wrong that its gates would meet."""

from collections.abc import Sequence
from pathlib import Path

from chaos.errors import HarnessError, Problem, SpecError, errors_among
from gates.lint.gate import lint
from gates.run.session import Options, chosen, project_of
from gates.spec.project import GATES, Project


def sound_project(options: Options) -> Project:
    """The project, or SpecError: of a partial run only what is wrong with the gates that were chosen.

    Warnings stop nothing; `lint` tells them.
    """
    project = project_of(options.specs)
    problems: Sequence[Problem] = errors_among(lint(project))
    if not options.full:
        problems = _of_chosen(project, options, problems)
    if problems:
        raise SpecError(problems)
    return project


def _of_chosen(
    project: Project, options: Options, problems: Sequence[Problem]
) -> Sequence[Problem]:
    """The problems that a run of some gates would meet: those of other gates are none of its business."""
    try:
        own = {project.files[name] for name in chosen(project, options)}
    except HarnessError:
        # What is no gate may be one that could not be read.
        unread = _unread(project, options, problems)
        if unread:
            return unread
        raise
    gates = project.specs / GATES
    return [
        problem
        for problem in problems
        if (path := Path(problem.file).resolve()) in own or not path.is_relative_to(gates)
    ]


def _unread(project: Project, options: Options, problems: Sequence[Problem]) -> list[Problem]:
    """The problems of files that hold a gate which was asked for and could not be read.

    A file is named like its gate; an id that nothing lists may be that of any.
    """
    listed = project.release.gates if project.release is not None else []
    names = {gate.id: gate.gate for gate in listed}
    known = {*names, *names.values()}
    missing = {names.get(one, one) for one in options.only if project.gate_by(one) is None}
    read = {path.resolve() for path in project.files.values()}
    unread = [
        problem
        for problem in problems
        if (path := Path(problem.file).resolve()) not in read
        and path.is_relative_to(project.specs / GATES)
    ]
    named = [problem for problem in unread if Path(problem.file).stem in missing]
    return named or (unread if missing - known else [])
