"""Hand a session's next run to the queue."""

import uuid

from django.db import connection

from agents_app.models import Run
from agents_app.queue import run_queue

# By hand, because every run needs it twice.
_HEAD = """
SELECT id, status FROM agents_app_run WHERE session_id = %s AND status IN ('queued', 'running', 'waiting')
ORDER BY number LIMIT 1
"""


def enqueue_next(session_id: str) -> None:
    """Hand over the session's next run if none is in progress, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_HEAD, [session_id])
        head = cursor.fetchone()
    if head is not None and head[1] == Run.Status.QUEUED:
        run_queue.enqueue(uuid.UUID(str(head[0])))
