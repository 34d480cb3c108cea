"""Delete old events from the beginning of sessions."""

import datetime
import time

from django.db import transaction
from django.db.models import F, Q

from agents_app.database.batches import BatchSize
from agents_app.models import Event, Run, Session

_SESSIONS_AT_ONCE = 500
_MOST_ROWS = 1000  # deleted by one transaction


def prune(
    before: datetime.datetime,
    *,
    keep: int = 0,
    session_id: str | None = None,
    size: BatchSize | None = None,
) -> int:
    """Delete the events of runs that finished before a moment, in batches. Return their number.

    Deletes only from the beginning of a session, and tells its watchers how far (`reset`). `keep`: the number of newest
    runs of each session that stay whole.
    """
    size = size or BatchSize(_MOST_ROWS)
    old = Run.objects.filter(
        finished_at__lt=before, last_seq__gt=F("session__pruned_seq"), number__lte=F("session__run_count") - keep
    )
    sessions = old.order_by("session_id").values_list("session_id", flat=True).distinct()
    if session_id is not None:
        sessions = sessions.filter(session=session_id)
    deleted, done = 0, ""
    while ids := list(sessions.filter(session_id__gt=done)[:_SESSIONS_AT_ONCE]):
        for each in ids:
            deleted += _prune_session(each, before, keep, size)
        done = ids[-1]
    return deleted


def _prune_session(session_id: str, before: datetime.datetime, keep: int, size: BatchSize) -> int:
    deleted = 0
    cut = _prunable(session_id, before, keep)
    began = time.monotonic()
    while removed := _delete(session_id, cut, size.rows):
        deleted += removed
        size.adapt(time.monotonic() - began)
        began = time.monotonic()
    return deleted


def _prunable(session_id: str, before: datetime.datetime, keep: int) -> int:
    """Return the number up to which events may be deleted: before the first run that is young, unfinished or kept."""
    session = Session.objects.filter(pk=session_id).first()
    if session is None:
        return 0
    cut = session.pruned_seq
    still_there = Q(last_seq__isnull=True) | Q(last_seq__gt=cut)
    runs = Run.objects.filter(still_there, session=session, first_seq__isnull=False).order_by("number")
    for run in runs.only("number", "finished_at", "last_seq").iterator():
        is_young = run.finished_at is None or run.finished_at >= before or run.last_seq is None
        if is_young or run.number > session.run_count - keep:
            break
        cut = max(cut, run.last_seq or 0)  # one that was cancelled in the queue has ended within the one before
    return cut


def _delete(session_id: str, cut: int, batch: int) -> int:
    with transaction.atomic():
        rows = Event.objects.filter(session_id=session_id, seq__lte=cut).order_by("seq").values_list("seq", flat=True)
        if not (to_delete := list(rows[:batch])):
            return 0
        Session.objects.filter(pk=session_id, pruned_seq__lt=to_delete[-1]).update(pruned_seq=to_delete[-1])
        count, _ = Event.objects.filter(session_id=session_id, seq__lte=to_delete[-1]).delete()
        return count
