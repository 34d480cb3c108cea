"""Threads for tests that follow a log in this process, and their end."""

import asyncio

from agents_app.database.threads import DatabaseThreads
from agents_app.event_log import following

database = DatabaseThreads("test", 1)


def close_connections() -> None:
    """PostgreSQL does not drop a database that somebody is connected to."""
    asyncio.run(following.readers.release())
    asyncio.run(database.release())
