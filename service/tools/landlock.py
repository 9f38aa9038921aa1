"""Landlock (Linux 5.13 and later; kernel documentation, "Landlock: unprivileged access control").

It takes away every access to files but: reading and executing system directories, everything below one directory, and the
null device; and, with newer kernels, TCP, signals to others and abstract Unix sockets.
"""

import ctypes
import os

from service.tools.system import syscall

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
TRUNCATE_SINCE, SCOPES_SINCE = 3, 6

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_TRUNCATE = 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_REMOVE = _REMOVE_DIR | _REMOVE_FILE
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_NEVER = _MAKE_CHAR | _MAKE_SOCK | _MAKE_BLOCK
# The number of file-system rights that each version of the interface knows, version 1 first.
_RIGHTS_BY_VERSION = (13, 14, 15, 15, 16)
_NETWORK_SINCE = 4
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock_version() -> int:
    """The kernel's version of the interface; 0 where it has none or has it switched off."""
    try:
        return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    except OSError:
        return 0


def restrict_files(version: int, directory: str, *, may_grow: bool) -> None:
    """Put the restrictions on this process; without `may_grow` it can read and remove below `directory`, and not write.

    Raises OSError half-way.
    """
    rights = (1 << _RIGHTS_BY_VERSION[min(version, len(_RIGHTS_BY_VERSION)) - 1]) - 1
    ruleset = _Ruleset(
        rights,
        _BIND_AND_CONNECT_TCP if version >= _NETWORK_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= SCOPES_SINCE else 0,
    )
    rules = syscall(
        _CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)), 0
    )
    for path in SYSTEM_DIRECTORIES:
        _allow(rules, path, _READ & rights)
    _allow(rules, "/dev/null", (_READ_FILE | _WRITE_FILE) & rights)
    _allow(rules, directory, rights & ~_NEVER if may_grow else (_READ | _REMOVE) & rights)
    syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = rights if os.path.isdir(path) else rights & _FILE_RIGHTS  # noqa: PTH112 - pathlib takes longer to import than all else here
    rule = _PathBeneath(allowed, opened)
    syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(opened)
