"""Hand a session's next run to the queue."""

from agents_app.models import Run
from agents_app.queue import run_queue


def enqueue_next(session_id: str) -> None:
    """Hand over the session's next run if none is in progress, in the caller's transaction."""
    head = Run.objects.unfinished().filter(session=session_id).order_by("number").only("status").first()
    if head is not None and head.status == Run.Status.QUEUED:
        run_queue.enqueue(head.pk)
