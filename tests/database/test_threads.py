"""A thread gets over a database connection that has died, whoever noticed it first."""

import asyncio
import contextlib

import pytest
from django.db import Error, connection

from agents_app.database.threads import DatabaseThreads


def query() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 42")
        return cursor.fetchone()[0]


def close_underneath() -> None:
    """Close the driver's connection: Django still holds it, as after an error that was not about a statement."""
    query()
    assert connection.connection is not None
    connection.connection.close()


@pytest.mark.both
@pytest.mark.django_db
def test_a_connection_closed_underneath_is_replaced():
    async def story() -> list[int]:
        threads = DatabaseThreads("test", 1)
        try:
            await threads.run(close_underneath)
            with contextlib.suppress(Error):  # SQLite's connection tells when it is used
                await threads.run(query)
            return [await threads.run(query), await threads.run(query)]
        finally:
            await threads.close()

    assert asyncio.run(story()) == [42, 42]
