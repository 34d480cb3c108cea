"""The system calls that a sandbox refuses, as a program for the kernel's seccomp.

Namespaces keep what a process may see; these are the parts of the kernel that it could attack, or ask about others.
"""

import platform
import struct

# By machine: the kernel's name of it (AUDIT_ARCH_…), and its numbers of the calls.
_X86_64 = {
    "acct": 163, "add_key": 248, "adjtimex": 159, "bpf": 321, "chroot": 161, "clock_adjtime": 305,
    "clock_settime": 227, "delete_module": 176, "fanotify_init": 300, "finit_module": 313, "fsconfig": 431,
    "fsmount": 432, "fsopen": 430, "fspick": 433, "get_kernel_syms": 177, "init_module": 175, "io_uring_enter": 426,
    "io_uring_register": 427, "io_uring_setup": 425, "ioperm": 173, "iopl": 172, "kcmp": 312, "kexec_file_load": 320,
    "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "mount": 165, "mount_setattr": 442, "move_mount": 429,
    "move_pages": 279, "name_to_handle_at": 303, "nfsservctl": 180, "open_by_handle_at": 304, "open_tree": 428,
    "perf_event_open": 298, "personality": 135, "pivot_root": 155, "process_madvise": 440, "process_vm_readv": 310,
    "process_vm_writev": 311, "ptrace": 101, "quotactl": 179, "reboot": 169, "request_key": 249, "setdomainname": 171,
    "sethostname": 170, "setns": 308, "settimeofday": 164, "swapoff": 168, "swapon": 167, "syslog": 103,
    "umount2": 166, "unshare": 272, "userfaultfd": 323, "vhangup": 153,
}  # fmt: skip
_AARCH64 = {
    "acct": 89, "add_key": 217, "adjtimex": 171, "bpf": 280, "chroot": 51, "clock_adjtime": 266, "clock_settime": 112,
    "delete_module": 106, "fanotify_init": 262, "finit_module": 273, "fsconfig": 431, "fsmount": 432, "fsopen": 430,
    "fspick": 433, "init_module": 105, "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425,
    "kcmp": 272, "kexec_file_load": 294, "kexec_load": 104, "keyctl": 219, "lookup_dcookie": 18, "mount": 40,
    "mount_setattr": 442, "move_mount": 429, "move_pages": 239, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "open_tree": 428, "perf_event_open": 241, "personality": 92, "pivot_root": 41, "process_madvise": 440,
    "process_vm_readv": 270, "process_vm_writev": 271, "ptrace": 117, "quotactl": 60, "reboot": 142,
    "request_key": 218, "setdomainname": 162, "sethostname": 161, "setns": 268, "settimeofday": 170, "swapoff": 225,
    "swapon": 224, "syslog": 116, "umount2": 39, "unshare": 97, "userfaultfd": 282, "vhangup": 58,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64, 16), "aarch64": (0xC00000B7, _AARCH64, 29)}  # and the number of ioctl
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX: type into somebody else's terminal
_OTHER_ABI = 0x40000000  # numbers of x32 begin here

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of the filter's language
_NUMBER, _ARCHITECTURE, _SECOND_ARGUMENT = 0, 4, 24  # where they are in what it looks at
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the call fails with EPERM


def seccomp_filter(machine: str = "") -> bytes:
    """Return the program; empty for a machine that we do not know."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        return b""
    architecture, numbers, ioctl = _MACHINES[machine]
    refused = sorted(numbers.values())
    calls = len(refused)
    body = [_jump(_EQUAL, number, calls - index + 4) for index, number in enumerate(refused)]
    rows = [
        _row(_LOAD, _ARCHITECTURE),
        _jump(_EQUAL, architecture, 1),
        _row(_RETURN, _REFUSE),  # of another architecture: no program of this machine needs it
        _row(_LOAD, _NUMBER),
        _jump(_AT_LEAST, _OTHER_ABI, calls + 5),
        *body,
        _jump(_EQUAL, ioctl, 0, 3),
        _row(_LOAD, _SECOND_ARGUMENT),
        *(_jump(_EQUAL, request, 2 - index) for index, request in enumerate(_TERMINAL_INPUT)),
        _row(_RETURN, _ALLOW),
        _row(_RETURN, _REFUSE),
    ]
    return b"".join(rows)


def _row(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, over: int, otherwise: int = 0) -> bytes:
    """Skip as many rows if it is so, and as many if it is not."""
    return struct.pack("=HBBI", code, over, otherwise, value)
