"""Fixed tables in files of their own: read from below the specs alone, and part of the gate that names them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.engine.plan import Plan
from gates.lint.gate import lint
from gates.spec.data_files import DataFiles
from gates.spec.project import Project
from gates.spec.snapshot import sha256_of
from tests.builders.gate_runs import plan, run
from tests.builders.small_project import GATE, project

ROWS = [{"path": "/a/{id}", "least": "operator"}, {"path": "/b", "least": "none"}]
YAML = "- {path: '/a/{id}', least: operator}\n- path: /b\n  least: none\n"
JSON = '[\n\t{"path": "/a/{id}", "least": "operator"},\n\t{"path": "/b", "least": "none"}]'
CSV = 'path,least\n"/a/{id}",operator\n/b,none\n'


@pytest.mark.parametrize("name", ["r.yaml", "r.json", "r.csv"])
def test_rows_are_the_same_in_every_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text({"r.yaml": YAML, "r.json": JSON, "r.csv": CSV}[name])
    assert DataFiles(tmp_path, {}).rows_of(name) == ROWS


def outside(specs: Path) -> str:
    (specs.parent / "r.yaml").write_text(YAML)
    return "../r.yaml"


def absolute(specs: Path) -> str:
    (specs / "r.yaml").write_text(YAML)
    (specs.parent / "other.yaml").write_text(YAML)
    return str(specs.parent / "other.yaml")


def linked_file(specs: Path) -> str:
    (specs / "r.yaml").symlink_to("/etc/hostname")
    return "r.yaml"


def linked_folder(specs: Path) -> str:
    (specs.parent / "elsewhere").mkdir()
    (specs.parent / "elsewhere" / "r.yaml").write_text(YAML)
    (specs / "data").symlink_to(specs.parent / "elsewhere", target_is_directory=True)
    return "data/r.yaml"


def written(content: str, name: str = "r.yaml") -> Callable[[Path], str]:
    def write(specs: Path) -> str:
        (specs / name).write_text(content)
        return name

    return write


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (outside, "../r.yaml is not below specs/"),
        (absolute, "is not below specs/"),
        (linked_file, "r.yaml is not below specs/"),
        (linked_folder, "data/r.yaml is not below specs/"),
        (lambda _: "gone.yaml", "there is no file gone.yaml below specs/"),
        (lambda _: ".", ". is none of .yaml, .json, .csv"),
        (written("", "r.txt"), "r.txt is none of .yaml, .json, .csv"),
        (written("- {a: 1, a: 2}\n"), "r.yaml:1:10: duplicate key 'a'"),
        (written("a: 1\n"), "r.yaml:1:1: expected a list, got a mapping"),
        (written("- 1\n"), "r.yaml:1:3: expected a mapping, got 1"),
        (written("- {a: 1}\n" * 40_000), "larger than 262144 bytes"),
        (written('[{"a": }]', "r.json"), "r.json: JSON is malformed"),
        (written("[1]", "r.json"), "r.json: Expected `object`, got `int`"),
        (written("a,b\n1\n", "r.csv"), "r.csv: line 2 has 1 values, not 2"),
    ],
)
def test_what_is_no_table_below_the_specs_is_refused(
    make: Callable[[Path], str], problem: str, tmp_path: Path
) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    name = make(specs)
    with pytest.raises(ValueError, match=re.escape(problem)):
        DataFiles(specs, {}).rows_of(name)


def read(root: Path, rows: str = YAML, name: str = "data/r.yaml") -> Project:
    gate = (
        GATE.replace("control:", f"data: {{pinned: {{from: {name}}}}}\ncontrol:")
        .replace('repeat: {route: "{routes}"', 'repeat: {route: "{data.pinned}"')
        .replace('method: "{route.method}", path:', "get:")
        .replace("from: requests where step = 'tried'", "from: mine")
        .replace("assert:", "with: {mine: {at_least: 1, query: 'select r.seq, r.status from requests r join pinned p on p.path = r.route'}}\nassert:")
    )  # fmt: skip
    return project(root, {"specs/gates/a/first.yaml": gate, "specs/data/r.yaml": rows})


def test_a_gate_has_the_rows_and_its_digest_is_theirs(tmp_path: Path) -> None:
    plain = read(tmp_path / "a")
    assert lint(plain) == []
    assert plain.judged("first").data == {"pinned": ROWS}
    changed = read(tmp_path / "b", YAML.replace("operator", "observer"))
    assert sha256_of(plain.gates["first"]) != sha256_of(changed.gates["first"])


def test_what_is_wrong_with_a_file_is_told_where_it_is_named(tmp_path: Path) -> None:
    problem, *_ = lint(read(tmp_path, name="data/gone.yaml"))
    assert problem.message == "there is no file data/gone.yaml below specs/"
    assert problem.source[problem.column - 1 :].startswith("data/gone.yaml")


def test_steps_know_the_rows_as_they_are(tmp_path: Path) -> None:
    steps = """
        scenario:
          - repeat: {route: "{data.pinned}"}
            steps: [{request: {get: "{route.path}", path_params: {id: "7"}}, name: "{route.least}"}]
    """
    made: Plan = plan(tmp_path, steps, data={"pinned": ROWS})
    (evidence,) = run(made)
    assert [(row["step"], row["path"]) for row in evidence.requests()] == [
        ("operator", "/a/7"),
        ("none", "/b"),
    ]
