"""Find and kill what a command without a sandbox left behind, by a mark in its environment. Only Linux shows it."""

import contextlib
import os
import signal
from pathlib import Path

MARK = "AINTANDEM_MCP_PROCESS"  # in the environment of a command and of all that it starts
_SWEEPS = 20  # at most; each finds what was started during the one before


def kill_marked(mark: str) -> None:
    """Kill the processes that have this mark in their environment."""
    needle = f"{MARK}={mark}".encode()
    for _ in range(_SWEEPS):
        pids = [pid for pid in _processes() if needle in _environment_of(pid).split(b"\0")]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 — only the names
    except OSError:
        return []


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""
