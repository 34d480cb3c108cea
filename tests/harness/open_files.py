"""What a process keeps in files that no folder shows."""

import contextlib
import stat
from pathlib import Path


def bytes_without_name(pid: int) -> int:
    """How many bytes a process keeps in files without a name: Twisted writes long bodies to such ones."""
    total = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            status = descriptor.stat()
            if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                total += status.st_size
    return total
