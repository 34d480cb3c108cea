"""Connections to PostgreSQL whose failed attempts end at once.

An attempt that timed out or was cancelled is held by its own traceback until garbage is collected, which is rare here
(`server/garbage.py`). Meanwhile its socket stays open, and PostgreSQL waits for the rest of its handshake: a shutdown
in the fast mode took 60 s, its `authentication_timeout`, in which nobody could work.
"""

import traceback
from typing import Any, Self

import psycopg


class Connection(psycopg.Connection[Any]):
    """For threads."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """See `psycopg.Connection.connect`."""
        try:
            return super().connect(*args, **kwargs)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """For an event loop."""

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """See `psycopg.AsyncConnection.connect`."""
        try:
            return await super().connect(*args, **kwargs)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise
