"""Nothing that we start outlives us.

As a program it reads names of folders, and once its stdin closes it ends what belongs to them. A server
belongs to its folder: it was started with the folder in its environment, or it works in it. That finds its
children too, and whoever was started again by somebody else, whatever user or process group it has.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "SERVER_FOLDER"
# These overwrite their environment with a title. By its place alone, nobody else is ended: it may be a shell.
TITLED = ("postgres", "redis-check-rdb", "redis-server", "nginx")

_lock = threading.Lock()
_guard: "subprocess.Popen[str] | None" = None


def watch(folder: Path) -> None:
    """When this process is gone, however it ended, end what belongs to the folder and delete it."""
    _tell(f"+{folder}")


def forget(folder: Path) -> None:
    _tell(f"-{folder}")


def _tell(line: str) -> None:
    global _guard
    with _lock:
        if _guard is None:
            command = [sys.executable, "-I", "-S", __file__]
            # In a session of its own no Ctrl+C reaches it, and without an environment it belongs to nobody.
            _guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env={}, start_new_session=True)
            atexit.register(_leave)
        assert _guard.stdin is not None
        _guard.stdin.write(line + "\n")
        _guard.stdin.flush()


def _leave() -> None:
    assert _guard is not None and _guard.stdin is not None
    _guard.stdin.close()
    _guard.wait()


def members(folder: Path) -> list[int]:
    """The living processes that belong to the folder."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _belongs(entry, folder)]


def _belongs(process: Path, folder: Path) -> bool:
    try:
        if f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
            return True
        here, program = (process / "cwd").readlink(), (process / "exe").readlink()
        return here.is_relative_to(folder) and program.name in TITLED
    except OSError:  # gone, a zombie, or another user's
        return False


def sweep(folders: Iterable[Path]) -> None:
    """kill -9 to all that belong to the folders; returns when they are gone."""
    for folder in folders:
        while pids := members(folder):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            wait_for_the_end_of(pids)


def wait_for_the_end_of(pids: Iterable[int], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while alive := [pid for pid in pids if _is_alive(pid)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"These do not die: {alive}")
        time.sleep(0.002)


def _is_alive(pid: int) -> bool:
    """A zombie is not: it has closed its ports and files."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def main() -> None:
    folders: set[Path] = set()
    for line in sys.stdin:
        folder = Path(line[1:].rstrip("\n"))
        folders.add(folder) if line[0] == "+" else folders.discard(folder)
    sweep(folders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
