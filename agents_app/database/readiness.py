"""Whether the database is ready: it answers, and its tables are those of this version."""

import logging
import time

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

logger = logging.getLogger(__name__)

PAUSE = 0.5  # seconds


def wait_for_database() -> None:
    """Return once the database answers and all migrations are applied. Log each reason to wait once."""
    logged = ""
    while reason := _reason_to_wait():
        if reason != logged:
            logger.warning("Waiting: %s", reason)
            logged = reason
        time.sleep(PAUSE)


def _reason_to_wait() -> str:
    try:
        connection.ensure_connection()
        pending = pending_migrations()
    except DatabaseError:
        connection.close()
        return "the database does not answer."
    return "migrations are not applied; run `manage.py migrate`." if pending else ""


def pending_migrations() -> list[str]:
    """Return the migrations that are not applied yet, as `app.name`, in their order."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def unknown_migrations(app_label: str) -> list[str]:
    """Return the names of applied migrations that this code does not have: a newer version made the database."""
    loader = MigrationLoader(connection)
    applied = {key for key in loader.applied_migrations if key[0] == app_label}
    return sorted(name for _, name in applied - set(loader.disk_migrations))


def allow_long_transactions() -> None:
    """Let a transaction of this connection compute for long between two statements, as migrations and imports do.

    Settings have PostgreSQL end such transactions: a frozen process must not keep its locks from other workers.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
