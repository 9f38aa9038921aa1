"""What a hostile command tries, run by the system's Python inside of a confined command; says what came of each try.

Standard library alone. Arguments: a state directory, a process of the same user, and a TCP port that listens.
"""

# The calls themselves are what is tried.
# ruff: noqa: PTH101, PTH104, PTH123, PTH208, PTH211, PLW0108

import ctypes
import errno
import json
import os
import socket
import struct
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
ARGUMENTS = sys.argv[1:] if __name__ == "__main__" else [".", "0", "0"]
STATE, VICTIM, PORT = Path(ARGUMENTS[0]), int(ARGUMENTS[1]), int(ARGUMENTS[2])
KEYS = bytes(STATE / "keys.json")
AT_FDCWD = -100
ON_X86 = os.uname().machine == "x86_64"
NUMBERS = {
    "chmod": (90, 0),
    "chown": (92, 0),
    "clone": (56, 220),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "mq_open": (240, 180),
    "perf_event_open": (298, 241),
    "ptrace": (101, 117),
    "shmget": (29, 194),
    "tgkill": (234, 131),
    "utime": (132, 0),
    "ioprio_set": (251, 30),
}


def call(number: object, *arguments: object) -> None:
    if isinstance(number, str):
        number = NUMBERS[number][0 if ON_X86 else 1]
    if number == 0:
        raise OSError(errno.EPERM, "this architecture has no such call")
    if LIBC.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def dgram_pair() -> None:
    """A pair of datagrams needs no `socket`, and can be connected to a name afterwards."""
    mine, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    mine.sendto(b"hello", str(STATE / "datagrams"))


def unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as mine:
        mine.connect(address)


def tcp() -> None:
    with socket.socket() as mine:
        mine.connect(("127.0.0.1", PORT))


def owned_signal() -> None:
    """A descriptor's owner is sent whatever signal was chosen."""
    import fcntl

    fcntl.fcntl(0, fcntl.F_SETOWN, VICTIM)


def type_into_terminal() -> None:
    import fcntl

    fcntl.ioctl(0, 0x5412, b"x")


def new_namespace_by_clone() -> None:
    # SIGCHLD, so that whoever is born can be waited for.
    pid = LIBC.syscall(NUMBERS["clone"][0 if ON_X86 else 1], 0x10000000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "")


def another_times() -> None:
    os.utime(KEYS, (0, 0))


def write(path: Path, text: str) -> None:
    path.write_text(text)


# By the filter of system calls.
CALLS = {
    "chmod": lambda: os.chmod(KEYS, 0o644),
    "chmod by its own call": lambda: call("chmod", KEYS, 0o644),
    "chmod of the newest kind": lambda: call(452, AT_FDCWD, KEYS, 0o644, 0),
    "chown": lambda: os.chown(KEYS, os.getuid(), os.getgid()),
    "chown by its own call": lambda: call("chown", KEYS, os.getuid(), os.getgid()),
    "an access list": lambda: os.setxattr(KEYS, "user.mine", b"x"),
    "an access list of the newest kind": lambda: call(463, AT_FDCWD, KEYS, 0, b"user.mine", 0, 0),
    "times": another_times,
    "times by an old call": lambda: call("utime", KEYS, 0),
    "watching a directory": lambda: call(294 if ON_X86 else 26, 0),
    "a named socket": lambda: unix(str(STATE / "stream")),
    "a datagram to a name": dgram_pair,
    "an abstract socket": lambda: unix(f"\0sonia-test-{VICTIM}"),
    "TCP": tcp,
    "UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "limits of another": lambda: __import__("resource").prlimit(VICTIM, 7, (8, 8)),
    "priority of another": lambda: os.setpriority(os.PRIO_PROCESS, VICTIM, 19),
    "priority of a group": lambda: os.setpriority(os.PRIO_PGRP, VICTIM, 19),
    "processors of another": lambda: os.sched_setaffinity(VICTIM, {0}),
    "disk priority of another": lambda: call("ioprio_set", 1, VICTIM, 0),
    "tracing": lambda: call("ptrace", 16, VICTIM, 0, 0),
    "comparing": lambda: call("kcmp", VICTIM, VICTIM, 0, 0, 0),
    "counting another's events": lambda: call("perf_event_open", b"\0" * 128, VICTIM, -1, -1, 0),
    "a descriptor of another": lambda: call(438, os.pidfd_open(VICTIM), 0, 0),
    "who gets signals": owned_signal,
    "typing into a terminal": type_into_terminal,
    "a namespace": lambda: call(272 if ON_X86 else 97, 0x10000000),
    "a namespace by clone": new_namespace_by_clone,
    "another's namespace": lambda: call(308 if ON_X86 else 268, os.pidfd_open(VICTIM), 0x20000),
    "mounting": lambda: call("mount", 0, b"/nowhere", 0, 1 << 18, 0),
    "another root": lambda: os.chroot("/"),
    "io_uring": lambda: call(425, 8, ctypes.create_string_buffer(256)),
    "keys of the kernel": lambda: call("keyctl", 0, -3, 0),
    "a file without a name": lambda: os.memfd_create("x"),
    "memory that stays": lambda: call("shmget", 0, 0, 0o1600),
    "a queue that stays": lambda: call("mq_open", b"sonia-test", 0, 0, 0),
    "a handle of a file": lambda: call(303 if ON_X86 else 264, AT_FDCWD, KEYS, bytes(200), 0, 0),
    "not to be looked at": lambda: call(157 if ON_X86 else 167, 4, 0, 0, 0, 0),
    "a device": lambda: os.mknod("device", 0o20600, os.makedev(1, 3)),
    "a call nobody knows": lambda: call(600),
}
# By Landlock, or by the filter where Landlock is too old.
FILES = {
    "reading": lambda: (STATE / "keys.json").read_text(),
    "writing": lambda: write(STATE / "keys.json", "x"),
    "truncating": lambda: os.truncate(KEYS, 0),
    "a second name": lambda: os.link(KEYS, "hard"),
    "moving in": lambda: os.rename(STATE / "clock.mark", "mark"),
    "moving out": lambda: os.rename(__file__, STATE / "moved"),
    "through a link": lambda: (os.symlink(KEYS, "soft"), Path("soft").read_text()),
    "listing": lambda: os.listdir(STATE),
    "another's memory": lambda: open(f"/proc/{VICTIM}/mem", "rb").close(),
    "another's environment": lambda: Path(f"/proc/{VICTIM}/environ").read_bytes(),
    "the keeper's memory": lambda: open(f"/proc/{os.getppid()}/mem", "rb").close(),
    "a signal": lambda: os.kill(VICTIM, 0),
    "a signal to a group": lambda: os.killpg(VICTIM, 0),
    "a signal to its parent": lambda: os.kill(os.getppid(), 0),
    "a signal to a thread": lambda: call("tgkill", VICTIM, VICTIM, 0),
    "a signal by descriptor": lambda: call(424, os.pidfd_open(VICTIM), 0, 0, 0),
}
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EXDEV}


def outcome(attack: object) -> str:
    try:
        attack()
    except OSError as error:
        name = errno.errorcode.get(error.errno, "?")
        return "refused" if error.errno in REFUSED else name
    return "done"


def still_possible() -> dict:
    """What a command needs of the calls that are looked at."""
    Path("new.txt").write_text("x")
    os.utime(os.open("new.txt", os.O_WRONLY))
    mine, other = socket.socketpair()
    mine.sendall(b"x")
    other.recv(1)
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), 9)
    killed = os.waitpid(pid, 0)[1]
    other = os.fork()
    if other == 0:
        os.setsid()
        signal_pause()
    os.kill(other, 9)
    import threading

    thread = threading.Thread(target=os.getpid)
    thread.start()
    thread.join()
    return {"killed": killed, "child": os.waitpid(other, 0)[1]}


def signal_pause() -> None:
    import signal

    signal.pause()


def open_descriptors() -> list:
    found = []
    for each in range(3, 256):
        try:
            os.fstat(each)
        except OSError:
            continue
        found.append(each)
    return found


def capabilities() -> int:
    data = ctypes.create_string_buffer(24)
    header = struct.pack("=Ii", 0x20080522, 0)
    LIBC.syscall(125 if ON_X86 else 90, ctypes.c_char_p(header), data)
    return int.from_bytes(data.raw, "little")


if __name__ == "__main__":
    report = {
        "descriptors": open_descriptors(),
        "environment": sorted(os.environ),
        "capabilities": capabilities(),
        "calls": {name: outcome(attack) for name, attack in CALLS.items()},
        "files": {name: outcome(attack) for name, attack in FILES.items()},
        "possible": still_possible(),
    }
    print(json.dumps(report))
