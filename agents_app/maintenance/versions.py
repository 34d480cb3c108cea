"""Delete versions of deleted agents once no run refers to them any more."""

import time
import uuid

from django.db import connection, transaction

from agents_app.database.batches import BatchSize
from agents_app.database.prepared import parameter_value
from agents_app.models import AgentVersion, Run

_MOST_AT_ONCE = 10_000  # of one day; the next one continues


def prune(size: BatchSize) -> int:
    """Delete them in batches. Return their number."""
    ids = _unused()
    deleted = 0
    # No run can begin to refer to them: their agent is gone. Runs have no index of their versions, so that SQLite would
    # read all runs to check that, for each version, while others wait to write. PostgreSQL checks it beside them.
    with connection.constraint_checks_disabled():
        while deleted < len(ids):
            began, batch = time.monotonic(), ids[deleted : deleted + size.rows]
            with transaction.atomic():
                _delete(batch)
            deleted += len(batch)
            size.adapt(time.monotonic() - began)
    return deleted


def _unused() -> list[uuid.UUID]:
    used = Run.objects.filter(agent=None, agent_version__isnull=False)
    unused = AgentVersion.objects.filter(agent=None, draft_of=None).exclude(pk__in=used.values("agent_version"))
    return list(unused.order_by().values_list("pk", flat=True)[:_MOST_AT_ONCE])


def _delete(ids: list[uuid.UUID]) -> None:
    """Delete the rows alone: Django would look in every table for rows that refer to them."""
    places = ", ".join(["%s"] * len(ids))
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM agents_app_agentversion WHERE id IN ({places})", list(map(parameter_value, ids)))
