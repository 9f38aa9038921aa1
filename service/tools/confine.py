"""Run a command that can write, and read anything private, only below one directory.

Executed as a program (`python -I -S confine.py DIRECTORY COMMAND…`), so that the restrictions are put on by the
process they are for: between fork and exec of a process with threads only very little is safe. It uses the standard
library alone, and replaces itself by the command.

Landlock (Linux 5.13 and later; kernel documentation, "Landlock: unprivileged access control") takes away everything
but: reading and executing system directories, everything below DIRECTORY, and the null device. Network and
signals to others go where the kernel's version knows how. Where there is no Landlock the command still runs, and
says so on the descriptor that SONIA_CONFINEMENT_FD names: "landlock" or "directory".
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

SYSTEM_DIRECTORIES = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc",
    "/dev/zero",
    "/dev/urandom",
    "/dev/random",
)
MAX_FILE_BYTES = 64 * 1024 * 1024

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE = 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# The number of file-system rights that each version of the interface knows, version 1 first.
_RIGHTS_BY_VERSION = (13, 14, 15, 15, 16)
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock_version(libc: ctypes.CDLL) -> int:
    """The kernel's version of the interface; 0 where it has none or has it switched off."""
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def confine(libc: ctypes.CDLL, directory: str) -> bool:
    """Put the restrictions on this process; False where the kernel offers none. Raises OSError half-way."""
    version = landlock_version(libc)
    if version == 0:
        return False
    rights = (1 << _RIGHTS_BY_VERSION[min(version, len(_RIGHTS_BY_VERSION)) - 1]) - 1
    ruleset = _Ruleset(
        rights,
        _BIND_AND_CONNECT_TCP if version >= _NETWORK_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0,
    )
    rules = _checked(
        libc.syscall(
            _CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)), 0
        )
    )
    for path in SYSTEM_DIRECTORIES:
        _allow(libc, rules, path, _READ & rights)
    _allow(libc, rules, "/dev/null", (_READ_FILE | _WRITE_FILE) & rights)
    _allow(libc, rules, directory, rights)
    _checked(libc.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)
    return True


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = rights if Path(path).is_dir() else rights & _FILE_RIGHTS
    rule = _PathBeneath(allowed, opened)
    _checked(libc.syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    os.close(opened)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def main(arguments: list[str]) -> None:
    """Restrict this process and become the command; only returns by raising OSError."""
    directory, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    os.chdir(directory)
    confined = confine(libc, directory)
    report = int(os.environ.pop("SONIA_CONFINEMENT_FD"))
    os.write(report, b"landlock" if confined else b"directory")
    os.close(report)
    os.execv(command[0], command)  # noqa: S606 - becoming the command is what this program is for


if __name__ == "__main__":
    main(sys.argv[1:])
