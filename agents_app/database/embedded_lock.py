"""The lock of an embedded database: one process serves a file."""

import fcntl
import os
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_lock_file: IO[str] | None = None


def take() -> None:
    """Make this the one process that serves VAR_DIR's database; kept until the process ends.

    Raises:
        ImproperlyConfigured: another process does.
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
            f"The database in {settings.VAR_DIR} is served already, by process {holder}. "
            "Stop it first, or give this one a VAR_DIR of its own."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    _lock_file = file
