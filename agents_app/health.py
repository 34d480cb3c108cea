"""Whether this process lives, and whether it can do its work."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse, JsonResponse

from agents_app import dispatch, live
from agents_app.configuration import service as configuration

logger = logging.getLogger(__name__)

OK = "ok"
_migrated = False


async def alive() -> HttpResponse:
    """The process answers. No dependency is asked."""
    return JsonResponse({"status": OK})


async def ready() -> HttpResponse:
    """Each check with `ok` or a sentence; 503 where one is not ok."""
    checks = await readiness()
    is_ready = all(result == OK for result in checks.values())
    body: dict[str, Any] = {"status": OK if is_ready else "unavailable", "checks": checks}
    if settings.CONFIG_DIR and (problem := configuration.problem()):
        body["warnings"] = {"configuration": problem}  # what was configured before still serves
    return JsonResponse(body, status=200 if is_ready else 503)


async def readiness() -> dict[str, str]:
    """What work needs, each `ok` or a sentence that says what is wrong."""
    return {
        **await sync_to_async(_storage)(),
        "channel_layer": await _channel_layer(),
        "configuration": configuration.problem() if configuration.never_loaded() else OK,
        "draining": "This process is shutting down." if dispatch.draining() else OK,
    }


def _storage() -> dict[str, str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return {"database": OK, "migrations": _migrations(), "worker": _worker()}
    except DatabaseError:
        logger.exception("The database does not answer")
        unknown = "Unknown without the database."
        return {"database": "The database does not answer.", "migrations": unknown, "worker": unknown}


def _worker() -> str:
    return OK if dispatch.workers_seen() else "No worker is running: nothing would execute a run."


def _migrations() -> str:
    """Asked until they are all applied: this process's code, and so its list, does not change any more."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if missing:
            return f"{missing} migrations are not applied: run `manage.py migrate`."
        _migrated = True
    return OK


async def _channel_layer() -> str:
    if await live.hub().answers():
        return OK
    return "The channel layer does not answer: watchers get their frames late, from the database."


PROBES: dict[str, Callable[[], Awaitable[HttpResponse]]] = {
    "/healthz": alive,
    "/health": alive,
    "/readyz": ready,
}
