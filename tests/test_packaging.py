"""What is installed is pinned and checked by hash, and what is shipped is the three packages."""

import ast
import re
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGES = {"service", "chaos", "gates"}
PINNED = [
    "constraints.txt",
    "chaos/links/go-toolchain.txt",
    *sorted(f"requirements/{path.name}" for path in (ROOT / "requirements").glob("*.txt")),
]


def pyproject() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def entries(name: str) -> list[str]:
    """The requirements of a pinned file, each with its continuation lines joined."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def imported(package: str) -> set[str]:
    """The top-level modules that a package imports anywhere, its own and the library's left out."""
    found: set[str] = set()
    files = list((ROOT / package).rglob("*.py"))
    # On their own path, in folders that are no packages.
    shims = {file.stem for file in files if not (file.parent / "__init__.py").exists()}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - PACKAGES - shims - sys.stdlib_module_names


@pytest.mark.parametrize("name", PINNED)
def test_every_pin_is_exact_and_hashed(name: str) -> None:
    lines = entries(name)
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"[a-z0-9-]+==[^\s;]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *", line
        ), line


@pytest.mark.parametrize("name", PINNED)
def test_pins_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host", text)


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    pins = {}
    for line in entries("constraints.txt"):
        found = re.match(r"([a-z0-9-]+)==([^\s;]+)", line)
        assert found
        pins.setdefault(found[1], []).append(Version(found[2]))
    project = pyproject()
    wanted = [Requirement(text) for text in project["project"]["dependencies"]]
    for group in project["dependency-groups"].values():
        wanted += [Requirement(text) for text in group]
    for requirement in wanted:
        versions = pins[canonicalize_name(requirement.name)]
        # One version everywhere: the sessions install it by name alone.
        assert len(versions) == 1, requirement
        assert requirement.specifier.contains(versions[0]), requirement


def test_the_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith("METADATA")]
        text = archive.read(metadata).decode()
    roots = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert roots == PACKAGES
    assert "chaos/links/go-toolchain.txt" in names
    assert "libfaketime" not in text
    assert "Requires-Python: >=3.11" in text


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_what_is_imported_is_declared(package: str) -> None:
    project = pyproject()
    # One command needs coverage.py, one option Spark, and they say so where it is missing.
    texts = [*project["project"]["dependencies"], *project["dependency-groups"]["mutants"]]
    texts += project["project"]["optional-dependencies"]["spark"]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    distributions = packages_distributions()
    for module in imported(package):
        names = {canonicalize_name(name) for name in distributions.get(module, [module])}
        assert names & declared, f"{package} imports {module}, which pyproject.toml does not name"
