"""The lock of an embedded database: one process serves a file."""

import fcntl
import os
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_lock_file: IO[str] | None = None


def take() -> None:
    """Make this the one process that serves VAR_DIR's database, until it ends.

    Raises:
        ImproperlyConfigured: another process serves it.
    """
    global _lock_file
    if _lock_file is not None:
        return
    path = Path(settings.VAR_DIR) / "embedded.lock"
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise ImproperlyConfigured(
            f"The database in {settings.VAR_DIR} is already served by process {holder}. "
            "Stop that process first, or use another VAR_DIR."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    _lock_file = file
