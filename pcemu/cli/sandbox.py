"""-sandbox on: a seccomp filter (Linux, x86-64) that refuses groups of system calls with EPERM.

The groups are those QEMU's documentation names. Filters are classic BPF over `struct seccomp_data`
(linux/seccomp.h); numbers are x86-64's (arch/x86/entry/syscalls/syscall_64.tbl).
"""

from __future__ import annotations

import ctypes
import os
import platform
from struct import pack

from pcemu.qom.errors import PcemuError

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EPERM, ENOSYS = 1, 38
CLONE, CLONE3, CLONE_THREAD = 56, 435, 0x10000
LD_ABS, JEQ, JGE, JSET, RET = 0x20, 0x15, 0x35, 0x45, 0x06
NR, ARCH, ARG0 = 0, 4, 16           # offsets in struct seccomp_data

GROUPS: dict[str, tuple[int, ...]] = {
    # uselib ustat sysfs _sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall tuxcall
    "obsolete": (134, 136, 139, 156, 174, 177, 178, 180, 181, 182, 183, 184),
    # setuid setgid setpgid setreuid setregid setsid setresuid setresgid setfsuid setfsgid
    "elevateprivileges": (105, 106, 109, 113, 114, 112, 117, 119, 122, 123),
    "spawn": (57, 58, 59, 322),     # fork vfork execve execveat; clone without CLONE_THREAD
    # setpriority sched_setparam sched_setscheduler sched_setaffinity sched_setattr
    "resourcecontrol": (141, 142, 144, 203, 314),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _op(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return pack("<HBBI", code, yes, no, k)


def program(groups: list[str]) -> bytes:
    """The filter for these groups."""
    deny, allow = _op(RET, ERRNO | EPERM), _op(RET, ALLOW)
    code = _op(LD_ABS, ARCH) + _op(JEQ, AUDIT_ARCH_X86_64, 1, 0) + deny
    code += _op(LD_ABS, NR) + _op(JGE, X32_BIT, 0, 1) + deny
    for group in groups:
        for number in GROUPS[group]:
            code += _op(JEQ, number, 0, 1) + deny
        if group == "spawn":
            code += _op(JEQ, CLONE3, 0, 1) + _op(RET, ERRNO | ENOSYS)       # the C library then uses clone()
            code += _op(JEQ, CLONE, 0, 4) + _op(LD_ABS, ARG0) + _op(JSET, CLONE_THREAD, 0, 1) + allow + deny
    return code + allow


def confine(options: dict[str, str]) -> None:
    """Put the filter on. `options` are -sandbox's: obsolete, elevateprivileges, spawn, resourcecontrol."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise PcemuError("-sandbox on: there is a filter for Linux on x86-64 only")
    groups = [] if options.get("obsolete") == "allow" else ["obsolete"]
    groups += [group for group in ("elevateprivileges", "spawn", "resourcecontrol") if options.get(group) == "deny"]
    code = program(groups)
    libc = ctypes.CDLL(None, use_errno=True)
    filter = _Program(len(code) // 8, code)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter), 0, 0)):
        if libc.prctl(*arguments):
            raise PcemuError(f"-sandbox on: {os.strerror(ctypes.get_errno())}")
