"""What is wrong with some files: those of a project, and those that nobody reads though somebody thinks so."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from chaos.errors import Problem, SpecError
from chaos.spec.loader import read_text, value_of
from gates.lint.gate import lint_gate
from gates.spec.project import GATES, KINDS, SUFFIX, Project, read_gate, read_spec

READ: Final = f"specs are release{SUFFIX} and the {SUFFIX} files below {', '.join(f'{kind}/' for kind in KINDS)}"

ORDER: Final = ("gate", "release", "scenario", "target")
"""By which key a file is known: a gate has some of the others as well."""


def problems_in(
    project: Project, problems: Sequence[Problem], paths: Sequence[Path]
) -> list[Problem]:
    """Of the `problems` of a project those in some files or folders, and all that is wrong with other files there.

    A file outside of the project's specs is read as what its first key says that it is.
    """
    found: list[Problem] = []
    for path in paths:
        if path.is_dir():
            inside = [problem for problem in problems if _is_below(problem.file, path)]
            below = any(file.is_relative_to(path.resolve()) for file in project.texts)
            found += inside or (
                [] if below else [_problem(path, f"there are no specs in it: {READ}")]
            )
        elif path.resolve() in project.tried:
            found += [
                problem for problem in problems if Path(problem.file).resolve() == path.resolve()
            ]
        else:
            found += _stray(project, path)
    return found


def _is_below(file: str, folder: Path) -> bool:
    return Path(file).resolve().is_relative_to(folder.resolve())


def _stray(project: Project, path: Path) -> Iterator[Problem]:
    """What is wrong with a file that is not among the specs."""
    if not path.exists():
        yield _problem(path, "there is no such file")
    elif not path.is_file():
        yield _problem(path, "it is no file")
    elif path.resolve().is_relative_to(project.specs) or path.suffix != SUFFIX:
        yield _problem(path, f"it is not read: {READ}")
    else:
        yield from _alone(project, path)


def _alone(project: Project, path: Path) -> list[Problem]:
    """What is wrong with a file of YAML elsewhere, read as if it were one of the project's."""
    try:
        value, _ = value_of(path, read_text(path), dict[str, object], {})
    except SpecError as error:
        return error.problems
    keys = value if isinstance(value, dict) else {}
    kind = next((kind for kind in ORDER if kind in keys), None)
    if kind is None:
        listed = f"{', '.join(ORDER[:-1])} or {ORDER[-1]}"
        return [_problem(path, f"it is no spec: one has the key {listed}")]
    before = len(project.problems)
    known = set(project.gates)
    if kind == KINDS[GATES]:
        read_gate(project, path.resolve())
        made = [name for name in project.gates if name not in known]
        return [
            *project.problems[before:],
            *(problem for name in made for problem in lint_gate(project.gates[name], project)),
        ]
    read_spec(project, path.resolve(), kind)
    return project.problems[before:]


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, 1, message)
