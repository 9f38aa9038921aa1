"""Run one command below one directory, and end with everything that it started.

A process of its own for each command, `python -c "from service.tools.keeper import main; main()" …`: the command's descendants
are this process's, and become its children however they part from their parents. It uses the standard library alone, and little
of that, since each command waits for it to start.

The command is its child, restricted before it begins. While it runs, its processes, their memory and the workspace are looked at; the
filter of system calls may ask about signals.

Its parent tells it to end by closing one pipe, or by ending. On another it is told what came of the command, in a line: how it
was confined, then `exit 3`, `signal 9`, `stopped` or `limit` with what there was too much of (`processes`, `memory`,
`workspace`); or `failed` and why nothing was run.
"""

import ctypes
import fcntl
import os
import resource
import select
import struct
import sys
import time
from _socket import SCM_RIGHTS, SOL_SOCKET, socket, socketpair

from service.tools.landlock import (
    SCOPES_SINCE,
    TRUNCATE_SINCE,
    landlock_version,
    restrict_files,
)
from service.tools.processes import Descendants, tasks_of_this_user
from service.tools.seccomp import restrict_calls, seccomp_offered
from service.tools.system import SIGKILL, SIGPIPE, SIGXFSZ, heed, prctl, syscall
from service.tools.usage import Usage, measure

OPEN_FILES = 256
NICENESS = 10
LOOK_EVERY_S = 0.025
# At most this share of the time is spent on looking.
LOOKING_SHARE = 0.1
_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 28, 36, 38
_NOROOT_FOR_GOOD = 0b11
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_QUESTION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_CONTINUE, _EPERM = 1, 1


class Wanted:
    """What the parent asks for, from the arguments of this program."""

    def __init__(self, arguments: "list[str]") -> None:
        self.root, self.command = arguments[:2]
        numbers = [int(each) for each in arguments[2:]]
        self.report, self.control, self.processes, self.memory_bytes, self.file_bytes = numbers[:5]
        self.bound, self.may_grow = Usage(numbers[5], numbers[6]), bool(numbers[7])
        # What led to this program is nothing to the command.
        self.environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}


def main() -> None:
    """Do what the arguments ask for, and tell what came of it."""
    wanted = Wanted(sys.argv[1:])
    os.set_inheritable(wanted.report, False)
    os.set_inheritable(wanted.control, False)
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.write(wanted.report, _run(wanted).encode())


def _run(wanted: Wanted) -> str:
    ours, theirs = socketpair()
    leader = os.fork()
    if leader == 0:
        _become(wanted, theirs)
    theirs.close()
    # Nothing but a failure, or the confinement and the descriptor on which the filter asks.
    said, ancillary, _, _ = ours.recvmsg(4096, 64)
    confinement, _, failure = said.decode().partition("\n")
    if not confinement:
        os.waitpid(leader, 0)
        return f"failed {failure or 'the command could not be started'}"
    listener = struct.unpack("i", ancillary[0][2])[0] if ancillary else None
    return f"{confinement} {Watch(wanted, leader, listener).until_it_ends()}"


def _become(wanted: Wanted, told: socket) -> None:
    """In the child: restrict this process and become the command."""
    try:
        confinement, listener = restrict(wanted)
        rights = [] if listener is None else [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", listener))]
        told.sendmsg([confinement.encode()], rights)
        # Python ignores these two, and so would a command.
        heed(SIGPIPE)
        heed(SIGXFSZ)
        os.execve("/bin/sh", ["/bin/sh", "-c", wanted.command], wanted.environment)  # noqa: S606 - becoming the command is what this is for
    except OSError as error:
        told.sendmsg([f"\n{error}".encode()])
    finally:
        os._exit(126)


def restrict(wanted: Wanted) -> "tuple[str, int | None]":
    """Put all restrictions on this process: how it is confined now, and where the filter asks. Raises OSError."""
    os.setsid()
    os.chdir(wanted.root)
    prctl(_PR_SET_PDEATHSIG, SIGKILL)
    _first_to_go()
    os.nice(NICENESS)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, wanted.file_bytes),
        (resource.RLIMIT_DATA, wanted.memory_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        # Of all processes of the user, so it only stops what multiplies faster than it is looked at; root is not stopped.
        (resource.RLIMIT_NPROC, tasks_of_this_user() + 2 * wanted.processes),
    ):
        highest = resource.getrlimit(limit)[1]
        bound = most if highest == resource.RLIM_INFINITY else min(most, highest)
        resource.setrlimit(limit, (bound, bound))
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    drop_capabilities()
    version = landlock_version()
    if version:
        restrict_files(version, wanted.root, may_grow=wanted.may_grow)
    if not seccomp_offered():
        return "directory", None
    listener = restrict_calls(signals=version < SCOPES_SINCE, truncate=version < TRUNCATE_SINCE)
    return ("landlock" if version else "seccomp"), listener


def _first_to_go() -> None:
    """When memory runs out, the kernel takes the command before any process of SONIA."""
    try:
        opened = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(opened, b"1000")
        os.close(opened)
    except OSError:
        pass


def drop_capabilities() -> None:
    """Give up what root may do, for good; files that belong to root stay its own."""
    if os.geteuid() == 0:
        try:
            prctl(_PR_SET_SECUREBITS, _NOROOT_FOR_GOOD)
        except PermissionError:
            # Root without the right to that, as in some containers, keeps what its container left it.
            return
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    syscall(_CAPSET[os.uname().machine], ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, SIGKILL)
    except ProcessLookupError:
        return


class Watch:
    """The time between the command's start and its end."""

    def __init__(self, wanted: Wanted, leader: int, listener: "int | None") -> None:
        self._wanted = wanted
        self._leader = leader
        self._listener = listener
        self._descendants = Descendants(os.getpid())
        self._status: int | None = None

    def until_it_ends(self) -> str:
        """Wait for the command's end, or bring it about; nobody of its descendants is left afterwards."""
        try:
            return self._outcome(self._wait())
        finally:
            self._end_all()

    def _outcome(self, limit: str) -> str:
        if limit or self._status is None:
            return limit or "stopped"
        code = os.waitstatus_to_exitcode(self._status)
        return f"exit {code}" if code >= 0 else f"signal {-code}"

    def _wait(self) -> str:
        """Until the command has ended by itself (""), must end (why), or is to end (`stopped`)."""
        ended = os.pidfd_open(self._leader)
        events = select.poll()
        events.register(ended, select.POLLIN)
        events.register(self._wanted.control, select.POLLIN)
        if self._listener is not None:
            events.register(self._listener, select.POLLIN)
        look_at_s = time.monotonic() + LOOK_EVERY_S
        while True:
            wait_s = max(0.0, look_at_s - time.monotonic())
            ready = {descriptor for descriptor, _ in events.poll(wait_s * 1000)}
            if self._wanted.control in ready:
                return "stopped"
            if ended in ready:
                self._reap()
                return self._over()
            if self._listener in ready:
                self._answer()
            began_s = time.monotonic()
            if began_s >= look_at_s:
                if limit := self._over():
                    return limit
                now_s = time.monotonic()
                look_at_s = now_s + max(LOOK_EVERY_S, (now_s - began_s) / LOOKING_SHARE)

    def _over(self) -> str:
        """Which limit is passed, if one is."""
        self._reap()
        if self._descendants.look() > self._wanted.processes:
            return "limit processes"
        if self._descendants.uses_more_than(self._wanted.memory_bytes):
            return "limit memory"
        if self._wanted.may_grow:
            used = measure(self._wanted.root, self._wanted.bound)
            used.used_bytes += self._descendants.deleted_bytes()
            if not used.within(self._wanted.bound):
                return "limit workspace"
        return ""

    def _reap(self) -> bool:
        """Take in who has ended; True while there is still somebody."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._leader:
                self._status = status

    def _answer(self) -> None:
        """Say whether a signal may be sent. The numbers that a call was made with cannot change meanwhile."""
        assert self._listener is not None
        buffer = bytearray(_QUESTION.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, buffer)
            name, _, _, _, _, _, target, *_ = _QUESTION.unpack(buffer)
            inside = self._descendants.reached_by(target & 0xFFFFFFFF)
            answer = _ANSWER.pack(name, 0, 0 if inside else -_EPERM, _CONTINUE if inside else 0)
            fcntl.ioctl(self._listener, _SEND, answer)
        except OSError:
            return  # whoever asked has ended

    def _end_all(self) -> None:
        """End every descendant: whole groups at once, faster than they can fork, until nobody is left."""
        while self._reap():
            self._descendants.look()
            for group in self._descendants.groups():
                _kill(-group)
            for pid in self._descendants.pids():
                _kill(pid)
            time.sleep(0.001)
