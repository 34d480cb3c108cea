"""The probes of this process: liveness and readiness."""

import asyncio
import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpResponse, JsonResponse

from agents_app import live, scheduler
from agents_app.configuration.config_dir import config_dir
from agents_app.database.readiness import pending_migrations
from agents_app.observability import metrics
from agents_app.queue import run_queue

logger = logging.getLogger(__name__)

OK = "ok"
LATEST_FIRE = 30.0  # seconds overdue: a sign that no process fires tasks
_LEAST_FREE = 16 * 1024**2  # bytes
_is_migrated = threading.Event()  # set once: the migrations that this process knows do not change


async def alive() -> HttpResponse:
    """Answer that the process is alive, without asking anything that it depends on."""
    return JsonResponse({"status": OK})


async def ready() -> HttpResponse:
    """Answer with each check, `ok` or a sentence, and with 503 if one fails. `warnings` need a person's attention."""
    checks = await readiness()
    is_ready = all(result == OK for result in checks.values())
    body: dict[str, Any] = {"status": OK if is_ready else "unavailable", "checks": checks}
    if warnings := await sync_to_async(_warnings)():
        body["warnings"] = warnings
    return JsonResponse(body, status=200 if is_ready else 503)


async def readiness() -> dict[str, str]:
    """Return the checks of everything that work needs: each `ok` or a sentence that says what is wrong."""
    return {
        **await sync_to_async(_storage)(),
        "channel_layer": await _channel_layer(),
        "disk": await asyncio.to_thread(_disk),
        "configuration": OK if config_dir.is_loaded else config_dir.problem or OK,
        "draining": "This process is shutting down." if run_queue.is_draining() else OK,
    }


def _storage() -> dict[str, str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        migrations = _migrations()
        if migrations == OK:
            scheduler.overdue()  # reads a table: SQLite answers SELECT 1 even if its file was deleted
        return {"database": OK, "migrations": migrations, "worker": _worker()}
    except DatabaseError:
        metrics.DATABASE_ERRORS.labels("probe").inc()
        logger.exception("The database does not answer")
        unknown = dict.fromkeys(("migrations", "worker"), "Unknown without the database.")
        return {"database": "The database does not answer.", **unknown}


def _warnings() -> dict[str, str]:
    """Return what is wrong although requests are served: sending them to another instance would not help."""
    warnings = {}
    if config_dir.problem:
        warnings["configuration"] = config_dir.problem  # the configuration from before is still in use
    with contextlib.suppress(DatabaseError):  # one of the checks reports it
        if (late := scheduler.overdue()) >= LATEST_FIRE:
            warnings["scheduler"] = f"Tasks do not fire: one has been overdue for {late:.0f} seconds."
    return warnings


def _disk() -> str:
    """Check that VAR_DIR accepts a file, and has free space."""
    try:
        with tempfile.TemporaryFile(dir=settings.VAR_DIR) as file:
            file.write(b"x" * 4096)
        status = os.statvfs(settings.VAR_DIR)
    except OSError as error:
        return f"VAR_DIR cannot be written: {error.strerror}."
    free = status.f_bavail * status.f_frsize
    return OK if free > _LEAST_FREE else f"VAR_DIR has only {free / 1024**2:.0f} MiB left."


def _worker() -> str:
    return OK if run_queue.workers_alive() else "No worker is running: runs are not executed."


def _migrations() -> str:
    if not _is_migrated.is_set():
        missing = len(pending_migrations())
        if missing:
            return f"{missing} migrations are not applied: run `manage.py migrate`."
        _is_migrated.set()
    return OK


async def _channel_layer() -> str:
    if await live.hub().questions.layer_works():
        return OK
    return "The channel layer does not answer: frames arrive late, from the database."


PROBES: dict[str, Callable[[], Awaitable[HttpResponse]]] = {
    "/healthz": alive,
    "/health": alive,
    "/readyz": ready,
}
