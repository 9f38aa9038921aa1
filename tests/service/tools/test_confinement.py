"""A hostile command, in a real workspace beside a state directory: what it tries is refused, what it leaves is ended."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.errors import StartRefused
from service.settings import Confinement, ToolsSettings
from service.tools import process
from service.tools.landlock import landlock_version
from service.tools.process import CONFINEMENT, required_confinement
from service.tools.seccomp import assemble, seccomp_offered
from service.tools.shell import ShellEnd, missing_for_confinement, run_shell
from service.tools.workspace import Workspace
from tests.builders.descriptors import open_descriptors
from tests.service.running import until
from tests.service.tools.attacks import CALLS, FILES

ATTACKS = Path(__file__).with_name("attacks.py")
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
LONG_S = 60.0
MIB = 1024 * 1024
NOTHING_MISSING = not missing_for_confinement()
confined = pytest.mark.skipif(
    not NOTHING_MISSING, reason=f"this kernel lacks {missing_for_confinement()}"
)
filtered = pytest.mark.skipif(not seccomp_offered(), reason="this kernel has no such filters")
SMALL = ToolsSettings(
    max_processes=24,
    max_memory_bytes=64 * MIB,
    max_workspace_bytes=8 * MIB,
    max_workspace_files=200,
    confinement=Confinement.NOT_REQUIRED,
)


def shell(command: str, workspace: Workspace, timeout_s: float = LONG_S) -> ShellEnd:
    return asyncio.run(run_shell(command, workspace, timeout_s))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work", SMALL)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


OLD_LANDLOCK = (
    "from service.tools import keeper; keeper.landlock_version = lambda: 1; keeper.main()"
)


@pytest.fixture(scope="module", params=["this kernel", "the oldest Landlock"])
def tried(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What came of all attacks, in one command; where Landlock is old, the filter sees to signals and truncating."""
    if PYTHON is None:
        pytest.skip("the system has no Python for the attacks")
    patch = pytest.MonkeyPatch()
    if request.param == "the oldest Landlock":
        if not landlock_version():
            pytest.skip("this kernel has no Landlock")
        patch.setattr("service.tools.shell._KEEPER", OLD_LANDLOCK)
    # Sockets have short names.
    state = Path(tempfile.mkdtemp(prefix="state", dir="/tmp"))
    workspace = Workspace(state / "workspace", ToolsSettings(confinement=Confinement.NOT_REQUIRED))
    for name in ("keys.json", "clock.mark"):
        (state / name).write_text("secret")
        (state / name).chmod(0o600)
    shutil.copy(ATTACKS, workspace.root)
    patch.setenv("SONIA_SECRET", "very secret")
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, state)
        ends.callback(patch.undo)
        victim = subprocess.Popen(["sleep", "300"], start_new_session=True)
        ends.callback(victim.wait)
        ends.callback(victim.kill)
        listening = [ends.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        listening[0].bind(str(state / "stream"))
        listening[1].bind(f"\0sonia-test-{victim.pid}")
        listening.append(ends.enter_context(socket.socket()))
        listening[2].bind(("127.0.0.1", 0))
        for each in listening:
            each.listen()
        datagrams = ends.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagrams.bind(str(state / "datagrams"))
        port = listening[2].getsockname()[1]
        ran = shell(f"exec {PYTHON} attacks.py {state} {victim.pid} {port}", workspace)
        assert ran.result.exit_status == 0, ran
        yield json.loads(ran.result.stdout)
        assert victim.poll() is None


@filtered
@pytest.mark.parametrize("attack", sorted(CALLS))
def test_calls_that_landlock_does_not_know_of_are_refused(
    tried: dict[str, Any], attack: str
) -> None:
    assert tried["calls"][attack] == "refused"


@confined
@pytest.mark.parametrize("attack", sorted(FILES))
def test_what_is_outside_is_not_reached(tried: dict[str, Any], attack: str) -> None:
    assert tried["files"][attack] == "refused"


@filtered
def test_what_a_command_needs_is_possible(tried: dict[str, Any]) -> None:
    assert tried["possible"] == {"killed": 9, "child": 9}


def test_nothing_is_inherited(tried: dict[str, Any]) -> None:
    assert tried["descriptors"] == []
    assert {"HOME", "LANG", "PATH", "TMPDIR"} <= set(tried["environment"])
    assert not any("SONIA" in name or "PYTHON" in name for name in tried["environment"])
    assert tried["capabilities"] == 0


@filtered
def test_descendants_end_with_the_call_and_leave_no_descriptor(workspace: Workspace) -> None:
    before = open_descriptors()
    daemon = "setsid sh -c 'echo $$ > pid; setsid sleep 300 & echo $! >> pid; mv pid pids; wait' &"
    ran = shell(f"{daemon} until test -e pids; do sleep 0.01; done; echo done", workspace)
    assert (ran.result.exit_status, ran.result.stdout, ran.result.truncated) == (0, "done\n", False)
    pids = (workspace.root / "pids").read_text().split()
    assert [alive(int(each)) for each in pids] == [False, False]
    assert open_descriptors() <= before


def test_descendants_end_with_the_tools_process(workspace: Workspace) -> None:
    command = "setsid sh -c 'echo $$ > pid; mv pid pids; exec sleep 300' & sleep 300"
    program = (
        "import asyncio; from pathlib import Path; from service.settings import ToolsSettings\n"
        "from service.tools.shell import run_shell; from service.tools.workspace import Workspace\n"
        f"work = Workspace(Path({str(workspace.root)!r}), ToolsSettings(confinement='not_required'))\n"
        f"asyncio.run(run_shell({command!r}, work, {LONG_S}))"
    )
    tools = subprocess.Popen([sys.executable, "-c", program])
    try:
        until((workspace.root / "pids").exists, tools)
    finally:
        tools.kill()
        tools.wait()
    pid = int((workspace.root / "pids").read_text())
    until(lambda: not alive(pid))


@pytest.mark.parametrize(
    "command",
    [
        "for i in $(seq 100); do sleep 300 & done; wait",
        # It would come to an end by itself, at 81 and those that wait for them.
        'f() { [ "$1" = 0 ] && exec sleep 300; f $(($1 - 1)) | f $(($1 - 1)) & f $(($1 - 1)); wait; }; f 4',
    ],
    ids=["many", "ever more"],
)
def test_processes_are_bounded(workspace: Workspace, command: str) -> None:
    assert shell(command, workspace).limit == "processes"


@filtered
def test_memory_of_one_process_is_bounded(workspace: Workspace) -> None:
    """It is refused more, or the command is seen to have too much before."""
    ran = shell("head -c 300000000 /dev/zero | tail -c 300000000 > /dev/null", workspace)
    assert ran.limit == "memory" or "memory" in ran.result.stderr


@filtered
def test_memory_of_several_processes_is_bounded(workspace: Workspace) -> None:
    keeping = "(head -c 40000000 /dev/zero; sleep 300) | tail -c 40000000"
    assert shell(f"for i in 1 2 3; do {keeping} & done; wait", workspace).limit == "memory"


@filtered
@pytest.mark.parametrize(
    "command",
    [
        "for i in $(seq 40); do head -c 1000000 /dev/zero > $i; done; sleep 300",
        "mkdir d; cd d; for i in $(seq 250); do mkdir $i; done; sleep 300",
        "mkdir -m 300 d; head -c 9000000 /dev/zero > d/x; sleep 300",
        "head -c 9000000 /dev/zero > x; exec 3< x; rm x; sleep 300",
        "head -c 9000000 /dev/zero > x; echo finished",
    ],
    ids=["bytes", "names", "in a directory that cannot be read", "in no directory", "at its end"],
)
def test_what_grows_beyond_the_workspace_is_ended(workspace: Workspace, command: str) -> None:
    assert shell(command, workspace).limit == "workspace"


@confined
def test_in_a_full_workspace_a_command_can_only_make_room(workspace: Workspace) -> None:
    (workspace.root / "big").write_bytes(bytes(9 * MIB))
    attempts = "echo x > new; echo x >> big; mkdir d; ln -s a b; head -c 1 big | wc -c"
    ran = shell(attempts, workspace)
    assert (ran.full, ran.result.stdout) == (True, "1\n")
    assert ran.result.stderr.count("ermission denied") == 4
    assert list(workspace.root.iterdir()) == [workspace.root / "big"]
    assert shell("rm big", workspace).result.exit_status == 0
    assert shell("echo x > new", workspace).result.exit_status == 0


def test_where_the_kernel_cannot_confine_nothing_is_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.tools import shell as module

    monkeypatch.setattr(module, "missing_for_confinement", lambda: ["Landlock"])
    demanding = Workspace(workspace.root, ToolsSettings())
    with pytest.raises(module.ConfinementFailed):
        shell("echo x > made", demanding)
    (workspace.root / "big").write_bytes(bytes(9 * MIB))
    with pytest.raises(module.ConfinementFailed):
        shell("echo x > made", workspace)
    assert list(workspace.root.iterdir()) == [workspace.root / "big"]


def test_a_start_demands_confinement_unless_it_is_let_off_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, let_off = ToolsSettings(), ToolsSettings(confinement=Confinement.NOT_REQUIRED)
    monkeypatch.setattr(process, "missing_for_confinement", lambda: ["Landlock (…)"])
    with pytest.raises(StartRefused, match=r"lacks Landlock \(…\); use one .*not_required"):
        required_confinement(asked, {})
    with pytest.raises(StartRefused, match="lacks Landlock"):
        required_confinement(let_off, {CONFINEMENT: "required"})
    assert required_confinement(let_off, {}) == let_off
    assert required_confinement(asked, {CONFINEMENT: "not_required"}) == let_off
    monkeypatch.setattr(process, "missing_for_confinement", list)
    assert required_confinement(asked, {}) == asked
    for text in ("off", "", "NOT_REQUIRED"):
        with pytest.raises(StartRefused, match="is neither required nor not_required"):
            required_confinement(asked, {CONFINEMENT: text})


ARCHITECTURES = {"x86_64": (0xC000003E, 90, 56, 435, 41, 0), "aarch64": (0xC00000B7, 53, 220, 435, 198, 63)}  # fmt: skip


def judged(machine: str, architecture: int, number: int, *arguments: int) -> int:
    """What the filter of `machine` says to a call: the program, executed as the kernel does."""
    values = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = number.to_bytes(4, "little") + architecture.to_bytes(4, "little") + bytes(8)
    data += b"".join(each.to_bytes(8, "little") for each in values)
    program, at, held = assemble(machine, signals=True, truncate=True), 0, 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        match code:
            case 0x20:
                held = int.from_bytes(data[constant : constant + 4], "little")
            case 0x54:
                held &= constant
            case 0x06:
                return constant
            case 0x15:
                at += yes if held == constant else no
            case 0x25:
                at += yes if held > constant else no
            case 0x45:
                at += yes if held & constant else no


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_filters_of_both_architectures(machine: str) -> None:
    audit_name, mode, clone, clone3, sockets, reading = ARCHITECTURES[machine]
    allowed, asked, killed = 0x7FFF0000, 0x7FC00000, 0x80000000
    refused, unknown = 0x00050001, 0x00050026
    signal = 62 if machine == "x86_64" else 129
    assert judged(machine, audit_name, reading) == allowed
    assert judged(machine, audit_name, mode) == refused
    assert judged(machine, audit_name, sockets) == refused
    assert judged(machine, audit_name, clone, 17) == allowed
    assert judged(machine, audit_name, signal, 1) == asked
    assert judged(machine, audit_name, clone, 17 | 1 << 28) == refused
    assert judged(machine, audit_name, clone3) == unknown
    assert judged(machine, audit_name, 470) == unknown
    assert judged(machine, audit_name, reading | 1 << 30) == unknown
    assert judged(machine, 0x40000003, reading) == killed
