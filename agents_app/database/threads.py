"""Threads for the database, so that no work waits behind the one thread that all async ORM calls share."""

import asyncio
import select
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import Error, InterfaceError, InternalError, OperationalError, connection

from agents_app.observability import context as correlation
from agents_app.observability import metrics

P = ParamSpec("P")
T = TypeVar("T")


# Errors that may not occur again. psycopg raises InternalError if PostgreSQL has ended a transaction for idling.
UNAVAILABLE = (OperationalError, InterfaceError, InternalError)


class DatabaseThreads:
    """A few threads, each with its own database connection, which is closed after an error."""

    def __init__(self, name: str, size: int) -> None:
        self._size = size
        self._name = name
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in one of the threads. Return or raise what it does."""
        loop = asyncio.get_running_loop()
        context = correlation.clean_context()
        try:
            return await loop.run_in_executor(self._pool, lambda: context.run(_guarded, work, args, kwargs))
        except UNAVAILABLE:
            metrics.DATABASE_ERRORS.labels(self._name).inc()
            raise

    async def release(self) -> None:
        """Close the threads' connections; the next use opens new ones."""
        together = threading.Barrier(self._size)  # so that each thread takes one
        await asyncio.gather(*(self.run(_release, together) for _ in range(self._size)))

    async def close(self) -> None:
        """End the threads, after the work that waits for them, and close their connections."""
        await self.release()
        self._pool.shutdown(wait=False)


def _release(together: threading.Barrier) -> None:
    together.wait()
    connection.close()


def _guarded(work, args, kwargs):
    _close_dead_connection()
    try:
        return work(*args, **kwargs)
    except Error:
        if not connection.in_atomic_block:
            connection.close()
        raise


def _close_dead_connection() -> None:
    """Close a connection that has died while it was idle.

    Its server has ended it, so that there is something to read on it; or the driver has closed it already after an
    error that did not reach `_guarded`. Each use of the latter fails, and nothing would ever replace it.
    """
    driver = connection.connection
    if connection.vendor != "postgresql" or driver is None or connection.in_atomic_block:
        return
    if driver.closed or (_has_input(driver.fileno()) and not connection.is_usable()):
        connection.close()


def _has_input(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
