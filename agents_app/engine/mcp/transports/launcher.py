"""A program that starts an MCP server: it limits its own process, then executes the server's command.

    python -I -S launcher.py PARENT LIMITS COMMAND [ARGUMENT …]

PARENT is the process to die with; LIMITS are pairs such as `RLIMIT_DATA=1000000,RLIMIT_CORE=0`. It imports no module of
this project: the interpreter runs without site packages.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as in a shell


def main() -> None:
    parent, limits, *command = sys.argv[1:]
    _die_with(int(parent))
    _gain_no_privileges()
    for pair in limits.split(","):
        name, _, value = pair.partition("=")
        _limit(getattr(resource, name), int(value))
    os.closerange(3, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024))
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 — the purpose of this program; without a shell
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)


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


if __name__ == "__main__":
    main()
