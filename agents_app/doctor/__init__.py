"""The doctor: try everything that a deployment depends on, as a user would, and say how to fix what is broken."""

import logging
from collections.abc import Callable, Generator, Iterator

from django.conf import settings
from django.db import DatabaseError, connection

from agents_app.doctor import deployment, front_door, integrations, live_path, storage, stored_files, workers
from agents_app.doctor.findings import Finding, State, broken, one_line, warning

__all__ = ["Finding", "State", "examine"]

Check = Callable[[], Iterator[Finding]]
_WITHOUT_TABLES: tuple[Check, ...] = (
    deployment.configuration,
    deployment.static_files,
    storage.disk,
    storage.files,
    live_path.redis_server,
    live_path.layer,
)
_WITH_TABLES: tuple[Check, ...] = (
    storage.clock,
    storage.stored_secrets,
    stored_files.stored_files,
    workers.workers,
    workers.queue,
    workers.scheduler,
    workers.agents,
    integrations.models,
    integrations.mcp_servers,
    integrations.sandboxes,
    integrations.budgets,
)


def examine(url: str = "", *, idle: float = 22) -> Iterator[Finding]:
    """Run the checks one after the other and yield each finding at once. Nothing of them stays.

    `url` is the address that users type; without it, an embedded server is tried at HOST and PORT. `idle` is for how
    many seconds a socket through it is left silent; the server itself sends something every 20.
    """
    logging.getLogger("agents_app").setLevel(logging.CRITICAL)  # the findings say what is wrong
    has_database = yield from _run(storage.database)
    has_tables = False
    if has_database and storage.exists():
        has_tables = yield from _run(storage.migrations)
    for check in _WITHOUT_TABLES:
        yield from _run(check)
    if has_tables:
        for check in _WITH_TABLES:
            yield from _run(check)
    else:
        yield warning("work", "Workers, tasks, models and MCP servers were not checked: that needs the database.")
    address = url or (f"http://{settings.HOST}:{settings.PORT}" if settings.EMBEDDED else "")
    if address:
        yield from _run(lambda: front_door.examine(address, idle=idle, expected=bool(url)))
    else:
        yield warning("front door", "Not checked.", "Set --url https://… to check streams and sockets too.")


def _run(check: Check) -> Generator[Finding, None, bool]:
    """Yield the findings of one check; return whether nothing is broken. A check that fails is a finding too."""
    is_healthy = True
    try:
        for finding in check():
            is_healthy = is_healthy and finding.state != State.BROKEN
            yield finding
    except DatabaseError as error:
        connection.close()
        is_healthy = False
        yield broken(check.__name__.replace("_", " "), f"The database reported: {one_line(error)}.")
    return is_healthy
