"""The doctor: asks everything that a deployment stands on, as a user would, and says how to mend what is broken."""

import logging
from collections.abc import Callable, Generator, Iterator

from django.conf import settings
from django.db import DatabaseError, connection

from agents_app.doctor import deployment, front_door, integrations, live_path, storage, workers
from agents_app.doctor.findings import Finding, State, broken, one_line, warning

__all__ = ["Finding", "State", "examine"]

Check = Callable[[], Iterator[Finding]]
_WITHOUT_TABLES: tuple[Check, ...] = (
    deployment.configuration,
    deployment.static_files,
    storage.disk,
    live_path.redis_server,
    live_path.layer,
)
_WITH_TABLES: tuple[Check, ...] = (
    storage.clock,
    storage.stored_secrets,
    workers.workers,
    workers.queue,
    workers.scheduler,
    workers.agents,
    integrations.models,
    integrations.mcp_servers,
)


def examine(url: str = "", *, idle: float = 22) -> Iterator[Finding]:
    """Ask one thing after the other; each finding as it is made. Nothing of it stays.

    `url`: the address that users type. Without it, an embedded server is looked for where the settings say.
    `idle`: seconds that a socket through it is left alone; the server itself says something every 20.
    """
    logging.getLogger("agents_app").setLevel(logging.CRITICAL)  # what goes wrong is said in the findings
    has_database = yield from _examined(storage.database)
    has_tables = False
    if has_database and storage.exists():
        has_tables = yield from _examined(storage.migrations)
    for check in _WITHOUT_TABLES:
        yield from _examined(check)
    if has_tables:
        for check in _WITH_TABLES:
            yield from _examined(check)
    else:
        yield warning("work", "Workers, tasks, models and MCP servers were not asked: that needs the database.")
    where = url or (f"http://{settings.HOST}:{settings.PORT}" if settings.EMBEDDED else "")
    if where:
        yield from _examined(lambda: front_door.knock(where, idle=idle, expected=bool(url)))
    else:
        yield warning("front door", "Not asked.", "Say --url https://… to try streams and sockets through your proxy.")


def _examined(check: Check) -> Generator[Finding, None, bool]:
    """The findings of one check; the generator returns whether nothing was broken. One that fails is a finding too."""
    is_whole = True
    try:
        for finding in check():
            is_whole = is_whole and finding.state != State.BROKEN
            yield finding
    except DatabaseError as error:
        connection.close()
        is_whole = False
        yield broken(check.__name__.replace("_", " "), f"The database refused: {one_line(error)}.")
    return is_whole
