"""A program that starts a command of somebody else: it limits its own process, then executes the command.

    python -I -S launcher.py PARENT LIMITS NETWORK KEEP COMMAND [ARGUMENT …]

PARENT is the process to die with; LIMITS are pairs such as `RLIMIT_DATA=1000000,RLIMIT_CORE=0`. NETWORK is `host`,
`none` (a network of its own with nothing in it), or the descriptor of a socket that gets the listener of that network's
proxy. KEEP is a descriptor for the command, or `-`. It imports no module of this project: the interpreter runs without
site packages.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_PROXY = ("127.0.0.1", 3128)  # free in a new network
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as in a shell


def main() -> None:
    parent, limits, network, keep, *command = sys.argv[1:]
    if network != "host":
        _leave_network()
        if network != "none":
            _open_proxy(int(network))
    _die_with(int(parent))
    _gain_no_privileges()
    for pair in limits.split(","):
        name, _, value = pair.partition("=")
        _limit(getattr(resource, name), int(value))
    _close_others(-1 if keep == "-" else int(keep))
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 — the purpose of this program; without a shell
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)


def _leave_network() -> None:
    """Go into a network, and a namespace of users, of our own: limits of processes count in it alone."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        sys.exit(f"the kernel gives no namespaces: {os.strerror(ctypes.get_errno())}")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _open_proxy(channel: int) -> None:
    """Bring up the loopback interface, and send a listener on it to whoever holds the other end of `channel`."""
    import fcntl
    import socket
    import struct

    with socket.socket() as listener, socket.socket(fileno=channel) as other_end:
        fcntl.ioctl(listener, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
        listener.bind(_PROXY)
        listener.listen()
        socket.send_fds(other_end, [b"."], [listener.fileno()])


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 — pathlib takes as long to import as all the rest
        file.write(text)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, for whatever reason. Only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before prctl
        sys.exit(1)


def _gain_no_privileges() -> None:
    """Have programs such as sudo and su run without the rights of their owner, here and in all children."""
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("the kernel does not take away privileges")


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _close_others(keep: int) -> None:
    end = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024)
    if keep < 0:
        os.closerange(3, end)
        return
    os.closerange(3, keep)
    os.closerange(keep + 1, end)


if __name__ == "__main__":
    main()
