"""What happens to a moment that does not start a run at once: it is skipped, or postponed."""

import datetime
from typing import Any

from django.db import transaction

from agents_app import runs
from agents_app.models import Postponed, Run, ScheduledTask, Skip
from agents_app.observability import metrics


def skip(
    task: ScheduledTask,
    at: datetime.datetime,
    reason: str,
    message: str = "",
    *,
    until: datetime.datetime | None = None,
    count: int = 1,
    previous: datetime.datetime | None = None,
) -> None:
    """Record that a moment starts no run. If the previous moment was skipped for the same reason, extend its row."""
    last = until or at
    transaction.on_commit(lambda: metrics.SCHEDULE_SKIPS.labels(str(reason)).inc(count))
    if previous is not None:
        newest = task.skips.order_by("-until", "-pk").first()
        if newest and newest.until == previous and (newest.reason, newest.message) == (reason, message):
            task.skips.filter(pk=newest.pk).update(until=last, count=newest.count + count)
            return
    task.skips.create(scheduled_for=at, until=last, count=count, reason=reason, message=message)


def postpone(
    task: ScheduledTask,
    moments: list[datetime.datetime],
    reason: str,
    not_before: datetime.datetime,
    retry: int = 0,
) -> None:
    """Have these moments started later, in their order."""
    rows = [Postponed(task=task, scheduled_for=at, retry=retry, reason=reason, not_before=not_before) for at in moments]
    Postponed.objects.bulk_create(rows, ignore_conflicts=True)


def is_busy(task: ScheduledTask) -> bool:
    """Whether an earlier moment runs or waits. A run that only waits for its retry does not hold up the next."""
    return open_runs(task).exists() or task.postponed.exclude(reason=Postponed.Reason.RETRY).exists()


def open_runs(task: ScheduledTask) -> Any:
    """Return the task's runs that have not ended."""
    return Run.objects.unfinished().filter(task=task, settled=False)


def cancel_previous(task: ScheduledTask) -> None:
    """Cancel the runs of earlier moments, and skip the moments that wait."""
    for run in open_runs(task).order_by("session_id"):
        runs.cancel(run, by="schedule")
    skip_postponed(task, Skip.Reason.REPLACED)


def skip_postponed(task: ScheduledTask, reason: str) -> None:
    """Skip all that was postponed."""
    for postponed in task.postponed.all():
        skip(task, postponed.scheduled_for, reason, "It was to be repeated." if postponed.retry else "")
    task.postponed.all().delete()


def end_if_done(task: ScheduledTask) -> None:
    """Disable a task that has no moment to come and nothing left to finish."""
    if task.next_due is None and not open_runs(task).exists() and not task.postponed.exists():
        ScheduledTask.objects.filter(pk=task.pk, enabled=True, next_due=None).update(enabled=False)
