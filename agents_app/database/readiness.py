"""Waiting for a database that starts at the same time as we do."""

import logging
import time

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

logger = logging.getLogger(__name__)

PAUSE = 0.5  # seconds


def for_database() -> None:
    """Return once the database answers and all migrations are applied; say once what is missing."""
    said = ""
    while missing := _missing():
        if missing != said:
            logger.warning("Waiting: %s", missing)
            said = missing
        time.sleep(PAUSE)


def _missing() -> str:
    try:
        connection.ensure_connection()
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        connection.close()
        return "the database does not answer."
    return "migrations are not applied; run `manage.py migrate`." if plan else ""
