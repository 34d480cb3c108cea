"""Threads of our own for the database, so that nobody waits behind the one that all async ORM calls share."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction

P = ParamSpec("P")
T = TypeVar("T")


_one_writer = threading.RLock()


@contextlib.contextmanager
def write_transaction() -> Iterator[None]:
    """A transaction that writes. SQLite has room for one: ours take turns here, in order, and wake at once.

    Its own way, trying again after sleeps that grow to 100 ms, made tokens wait behind a burst of new runs.
    """
    with _turn() if connection.vendor == "sqlite" else contextlib.nullcontext(), transaction.atomic():
        yield


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    if not _one_writer.acquire(timeout=settings.DATABASE_TIMEOUT):
        raise OperationalError("database is locked")
    try:
        yield
    finally:
        _one_writer.release()


class DatabaseThreads:
    """A few threads, each with a database connection of its own that is given up after an error."""

    def __init__(self, name: str, size: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in one of the threads and wait for what it returns or raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: contextvars.Context().run(_guarded, work, args, kwargs))


def _guarded(work, args, kwargs):
    try:
        return work(*args, **kwargs)
    except DatabaseError:
        if not connection.in_atomic_block:
            connection.close()
        raise
