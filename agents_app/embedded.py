"""The embedded engine's life: one process for each database file, with the worker on its event loop."""

import asyncio
import contextvars
import fcntl
import gc
import logging
import os
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from agents_app.worker import Worker

logger = logging.getLogger(__name__)

_lock_file: IO[str] | None = None
_worker: Worker | None = None
_stopped = False
_starting = asyncio.Lock()


def take_lock() -> None:
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


async def start() -> None:
    """Start the worker in this process, once; what is asked while the process ends starts none.

    Raises:
        ImproperlyConfigured: another process serves this database, or it has no tables.
    """
    global _worker
    async with _starting:
        if _worker is not None or _stopped:
            return
        take_lock()
        worker = Worker(settings.WORKER_CONCURRENCY)
        # In a context of its own: what a request leaves in its context would hold the database's threads.
        try:
            await asyncio.create_task(worker.start(alone=True), context=contextvars.Context())
        except DatabaseError as error:
            raise ImproperlyConfigured(
                f"The database cannot be used ({error}). Run `manage.py migrate`, or use `manage.py serve`."
            ) from error
        _worker = worker
        gc.freeze()  # what start-up made lives as long as the process: no need to look at it again
        gc.set_threshold(50_000, 20, 50)


async def stop() -> None:
    """Hand the runs back and write everything down."""
    global _worker, _stopped
    _stopped = True
    if _worker is not None:
        await _worker.stop()
        _worker = None
