"""What a serving process holds, from its start to its end."""

import asyncio

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.urls import get_resolver

from agents_app import live, mcp_server
from agents_app.background import spawn
from agents_app.database import embedded_lock, private_files
from agents_app.engine.preparation import prepare
from agents_app.integrations import mcp_servers
from agents_app.live import processes
from agents_app.observability import tracing
from agents_app.queue import run_queue
from agents_app.server import descriptors, garbage
from agents_app.server.warm_up import warm_up
from agents_app.worker.worker import Worker


class Process:
    """A serving process: with a worker on its event loop if the database is embedded, without one if it is shared."""

    def __init__(self) -> None:
        self.is_started = False
        self._is_stopping = False
        self._starting = asyncio.Lock()
        self._worker: Worker | None = None

    async def start(self) -> None:
        """Start everything, once. After `stop` nothing is started again.

        Raises:
            ImproperlyConfigured: another process serves this database, it has no tables, or others can read it.
        """
        async with self._starting:
            if self.is_started or self._is_stopping:
                return
            private_files.protect()
            descriptors.raise_limit()
            live.attach()
            tracing.start("aintandem-serve", settings.VERSION)
            if settings.EMBEDDED:
                await self._start_worker()
            else:
                processes.announce("web")
            self.is_started = True
        spawn(warm_up(_load), name="warm up")
        spawn(garbage.collect_when_idle(), name="garbage")

    async def stop(self) -> None:
        """Stop taking work, write everything down, and end the processes that this one has started."""
        self._is_stopping = True
        if self._worker is not None:
            await self._worker.stop()
            self._worker = None
        elif not settings.EMBEDDED:
            run_queue.set_draining()
        await mcp_server.application.close()
        await mcp_servers.close()
        await asyncio.to_thread(tracing.stop)

    async def _start_worker(self) -> None:
        embedded_lock.take()
        worker = Worker(settings.WORKER_CONCURRENCY)
        try:
            await spawn(worker.start(alone=True))
        except DatabaseError as error:
            raise ImproperlyConfigured(
                f"The database cannot be used ({error}). Run `manage.py migrate`, or use `manage.py serve`."
            ) from error
        self._worker = worker


def _load() -> None:
    _ = get_resolver().url_patterns
    if settings.EMBEDDED:
        prepare()
