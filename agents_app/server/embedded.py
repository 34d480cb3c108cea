"""The embedded engine's life: one process for each database file, with the worker on its event loop."""

import asyncio
import contextvars
import gc
import logging

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from agents_app.database import embedded_lock
from agents_app.worker.worker import Worker

logger = logging.getLogger(__name__)

_worker: Worker | None = None
_stopped = False
_starting = asyncio.Lock()


async def start() -> None:
    """Start the worker in this process, once; what is asked while the process ends starts none.

    Raises:
        ImproperlyConfigured: another process serves this database, or it has no tables.
    """
    global _worker
    async with _starting:
        if _worker is not None or _stopped:
            return
        embedded_lock.take()
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
