"""The command that the scope lock names works with any interpreter, or says what it needs."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from gates.release.report import EXIT_BROKEN, EXIT_PROMOTE

ROOT = Path(__file__).parents[2]
SCRIPT = Path("scripts") / "release" / "gate-v46.py"
FAKE_NOX = """\
import pathlib, sys
assert sys.argv[1:3] == ["--noxfile", {noxfile!r}], sys.argv
assert sys.argv[3:] == ["--session", "gates", "--install-only"], sys.argv
print("nox installs")
sys.exit({code})
"""
CLI = """\
import rich
def run_and_leave(arguments):
    raise SystemExit("not here")
"""
PROVIDED = """\
#!/bin/sh
echo "provided: $@"
exit 2
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without any package."""
    place = tmp_path_factory.mktemp("bare")
    venv.create(place, with_pip=False)
    return place / "bin" / "python"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the script, in which nox has installed something."""
    files = {"gates/__init__.py": "", "gates/cli.py": CLI, ".nox/gates/bin/python": PROVIDED}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".nox/gates/bin/python").chmod(0o755)
    (tmp_path / SCRIPT).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / SCRIPT, tmp_path / SCRIPT)
    return tmp_path


def run(
    python: Path, root: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, root / SCRIPT, *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(root), **environment},
    )


def fake_nox(root: Path, code: int) -> str:
    return FAKE_NOX.format(noxfile=str(root.resolve() / "noxfile.py"), code=code)


def test_a_bare_interpreter_without_nox_is_told_what_to_install(bare: Path, root: Path) -> None:
    done = run(bare, root, "--floor-only")
    assert (done.returncode, done.stdout) == (EXIT_BROKEN, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: the package rich is missing: install nox")


def test_the_shipped_command_is_told_so_too(bare: Path) -> None:
    done = run(bare, ROOT, "--help")
    assert done.returncode == EXIT_BROKEN
    assert done.stderr.count("\n") == 1 and "install nox" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--floor-only"], ["--delta-only", "-k", "C4 or A3"], ["--help"]]
)
def test_a_bare_interpreter_goes_through_the_nox_on_the_path(
    bare: Path, root: Path, arguments: list[str]
) -> None:
    nox = root / "bin" / "nox"
    nox.parent.mkdir()
    nox.write_text(f"#!{sys.executable}\n{fake_nox(root, 0)}")
    nox.chmod(0o755)
    done = run(bare, root, *arguments, PATH=f"{nox.parent}:/usr/bin:/bin")
    assert done.returncode == 2, done.stderr
    assert done.stdout == f"provided: -m gates run {' '.join(arguments)}\n"
    assert "nox installs" in done.stderr


@pytest.mark.parametrize(("code", "exit_code"), [(0, 2), (1, EXIT_BROKEN)])
def test_a_bare_interpreter_goes_through_its_own_nox(
    bare: Path, root: Path, code: int, exit_code: int
) -> None:
    module = root / "own" / "nox" / "__main__.py"
    module.parent.mkdir(parents=True)
    module.with_name("__init__.py").touch()
    module.write_text(fake_nox(root, code))
    assert run(bare, root, PYTHONPATH=str(root / "own")).returncode == exit_code


def test_what_is_missing_of_the_project_itself_is_no_matter_of_installing(
    bare: Path, root: Path
) -> None:
    shutil.rmtree(root / "gates")
    done = run(bare, root)
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'gates'" in done.stderr


def test_with_the_packages_it_is_the_command_itself() -> None:
    done = run(Path(sys.executable), ROOT, "--help", PATH=os.environ["PATH"])
    assert done.returncode == EXIT_PROMOTE, done.stderr
    assert "--floor-only" in done.stdout and "--delta-only" in done.stdout
