"""A seccomp filter: what Landlock does not know of, taken away by the number of the system call.

The filter is a small BPF program (kernel documentation, "Seccomp BPF"), assembled here from tables: calls that are refused whatever
they ask for, and calls of which some arguments are. Where Landlock does not know of signals, the keeper is asked about each.
Everything else is allowed, but for calls that are newer than these tables, which are refused until somebody has read about them.
"""

import ctypes
import errno
import os
import struct

from service.tools.system import syscall

# Where each call is found: on x86_64 and on aarch64, whose numbers since 424 are the same; 0 where there is none.
_REFUSED = {
    # Modes, owners, attributes (an access list is one) and times by path: they need no right that Landlock takes away.
    "chmod": (90, 0),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, 0),
    "fchown": (93, 55),
    "lchown": (94, 0),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "utime": (132, 0),
    "utimes": (235, 0),
    "futimesat": (261, 0),
    # Watching what others do with their files.
    "inotify_init": (253, 0),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "perf_event_open": (298, 241),
    # Sockets of every family. What a pair is made of is below.
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # What stays when its process has ended, or is memory that belongs to none.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # New namespaces and mounts.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # Ways around the calls above, and large parts of the kernel that no command needs.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "modify_ldt": (154, 0),
    "lookup_dcookie": (212, 18),
    # The machine.
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "iopl": (172, 0),
    "ioperm": (173, 0),
    "vhangup": (153, 58),
}
# The first argument says whose limit, processor or memory is meant; 0 is one's own.
_OWN_ONLY = {
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKETPAIR, _IOCTL, _FCNTL, _PRCTL = (53, 199), (16, 29), (72, 25), (157, 167)
_UTIMENSAT, _SETPRIORITY, _IOPRIO_SET = (280, 88), (141, 140), (251, 30)
_TRUNCATE = (76, 45)
# Signals, where Landlock does not know of them: the keeper is asked about the first two.
_KILL, _TGKILL = (62, 129), (234, 131)
_OTHER_SIGNALS = {
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
_LAST_KNOWN = 469

_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET, _TYPE_MASK = 1, 1, 5, 0xF
# TIOCSTI and TIOCLINUX type into a terminal; FIOSETOWN and SIOCSPGRP say who gets signals.
_IOCTLS = (0x5412, 0x541C, 0x8901, 0x8902)
_F_SETOWN, _F_SETOWN_EX = 8, 15
_PR_SET_DUMPABLE = 4

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_SECCOMP = (317, 277)
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_ALLOW, _ASK, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

Instruction = tuple[int, int, int, int]
Calls = dict[str, tuple[int, int]]
_REFUSE = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_PASS = (_RETURN, 0, 0, _ALLOW)
_QUESTION = (_RETURN, 0, 0, _ASK)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def seccomp_offered() -> bool:
    """Whether this kernel knows filters that ask, on an architecture that the tables know."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        return False
    action = ctypes.c_uint32(_ASK)
    try:
        syscall(_SECCOMP[_ARCHITECTURES[machine][0]], _GET_ACTION_AVAIL, 0, ctypes.byref(action))
    except OSError:
        return False
    return True


def restrict_calls(*, signals: bool, truncate: bool) -> "int | None":
    """Put the filter on this process, which must have no_new_privs.

    `signals` and `truncate`: whether the filter has to see to these as well; for signals it returns the descriptor on which it
    asks. Raises OSError.
    """
    column, _ = _ARCHITECTURES[os.uname().machine]
    program = assemble(os.uname().machine, signals=signals, truncate=truncate)
    packed = b"".join(struct.pack("=HBBI", *each) for each in program)
    filled = ctypes.byref(_Program(len(program), packed))
    if not signals:
        syscall(_SECCOMP[column], _SET_MODE_FILTER, 0, filled)
        return None
    try:
        return syscall(_SECCOMP[column], _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, filled)
    except OSError:
        # Before Linux 5.19 a question can be interrupted, and the call with it.
        return syscall(_SECCOMP[column], _SET_MODE_FILTER, _NEW_LISTENER, filled)


def assemble(machine: str, *, signals: bool, truncate: bool) -> list[Instruction]:
    """The filter for one architecture. Pure."""
    column, audit_name = _ARCHITECTURES[machine]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, audit_name),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        # Also the x32 calls of x86_64, whose numbers have a high bit.
        (_ABOVE, 0, 1, _LAST_KNOWN),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for numbers, body in _rules(signals, truncate):
        number = numbers[column]
        if number:
            program += [(_EQUAL, 0, len(body), number), *body]
    return [*program, _PASS]


def _rules(signals: bool, truncate: bool) -> list[tuple[tuple[int, int], list[Instruction]]]:
    """Each call with what is done about it; a body ends in every case."""
    rules = [(numbers, [_REFUSE]) for numbers in _REFUSED.values()]
    rules += [(numbers, [*_own(0), _PASS]) for numbers in _OWN_ONLY.values()]
    rules += [
        (_CLONE, [_argument(0), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), _REFUSE, _PASS]),
        # Its flags lie in memory, where no filter can look; the C library then takes `clone`.
        (_CLONE3, [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]),
        (_SOCKETPAIR, _stream_pair()),
        (_IOCTL, _none_of(1, _IOCTLS)),
        (_FCNTL, _none_of(1, (_F_SETOWN, _F_SETOWN_EX))),
        (_PRCTL, _none_of(0, (_PR_SET_DUMPABLE,))),
        # Times of an open file, and not of a path.
        (_UTIMENSAT, [*_own(1), (_LOAD, 0, 0, _ARGUMENTS_AT + 12), *_must_be(0), _PASS]),
        (_SETPRIORITY, [*_own(0), *_own(1), _PASS]),
        (_IOPRIO_SET, [_argument(0), *_must_be(1), *_own(1), _PASS]),
    ]
    if truncate:
        rules.append((_TRUNCATE, [_REFUSE]))
    if signals:
        rules += [(_KILL, [_QUESTION]), (_TGKILL, [_QUESTION])]
        rules += [(numbers, [_REFUSE]) for numbers in _OTHER_SIGNALS.values()]
    return rules


def _argument(index: int) -> Instruction:
    """Load the low half of an argument, which is all of one that the kernel takes for an int."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)


def _must_be(value: int) -> list[Instruction]:
    return [(_EQUAL, 1, 0, value), _REFUSE]


def _own(index: int) -> list[Instruction]:
    return [_argument(index), *_must_be(0)]


def _none_of(index: int, values: tuple[int, ...]) -> list[Instruction]:
    body = [_argument(index)]
    for value in values:
        body += [(_EQUAL, 0, 1, value), _REFUSE]
    return [*body, _PASS]


def _stream_pair() -> list[Instruction]:
    # A pair of datagrams could be connected anew, to a socket with a name.
    kinds = [(_EQUAL, 1, 0, _SOCK_STREAM), (_EQUAL, 0, 1, _SOCK_SEQPACKET), _PASS, _REFUSE]
    return [_argument(0), *_must_be(_AF_UNIX), _argument(1), (_AND, 0, 0, _TYPE_MASK), *kinds]
