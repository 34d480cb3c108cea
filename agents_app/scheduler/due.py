"""What the scheduler has to do now, and how late it is."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Min
from django.utils.dateparse import parse_datetime

from agents_app import clock
from agents_app.models import ScheduledTask


@dataclass(frozen=True, slots=True)
class DueWork:
    """Which kinds of work there are now, and when the next task or postponed run is due."""

    due: bool
    postponed: bool
    ended: bool
    deliveries: bool
    next_at: datetime.datetime | None


_DUE_WORK = """
SELECT
    (SELECT min(next_run_at) FROM agents_app_scheduledtask WHERE next_run_at IS NOT NULL),
    (SELECT min(not_before) FROM agents_app_postponed),
    EXISTS (SELECT 1 FROM agents_app_run
        WHERE task_id IS NOT NULL AND NOT settled AND status IN ('completed', 'failed', 'cancelled')),
    EXISTS (SELECT 1 FROM agents_app_delivery WHERE status = 'pending' AND next_attempt_at <= %s)
"""


def due_work(now: datetime.datetime) -> DueWork:
    """Return what needs doing now. One query, answered from indexes."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE_WORK, [connection.ops.adapt_datetimefield_value(now)])
        due, postponed, ended, deliveries = cursor.fetchone()
    moments = [_moment(due), _moment(postponed)]
    is_due, is_postponed = (at is not None and at <= now for at in moments)
    later = [at for at in moments if at is not None and at > now]
    return DueWork(is_due, is_postponed, bool(ended), bool(deliveries), min(later, default=None))


def _moment(value: Any) -> datetime.datetime | None:
    """Convert a raw column of a moment: SQLite returns text."""
    if isinstance(value, str):
        moment = parse_datetime(value)
        return moment and moment.replace(tzinfo=datetime.UTC)
    return value


def overdue() -> float:
    """Return for how many seconds the most overdue task has been due; 0 if none is."""
    due = ScheduledTask.objects.filter(next_run_at__isnull=False).aggregate(at=Min("next_run_at"))["at"]
    return max(0.0, (clock.now() - due).total_seconds()) if due else 0.0
