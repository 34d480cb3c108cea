"""Starts what was postponed: queued moments, missed ones that are caught up, and retries."""

import datetime

from django.db import transaction

from agents_app import clock
from agents_app.models import Postponed, ScheduledTask, Skip
from agents_app.scheduler.policies import end_if_done, open_runs, skip_postponed
from agents_app.scheduler.starting import start

MOST_AT_ONCE = 4  # moments of a task in one transaction
_RECHECK = datetime.timedelta(seconds=1)


def start_postponed(limit: int) -> int:
    """Start what has waited long enough, of up to `limit` tasks. Returns the number of these tasks."""
    now = clock.now()
    ready = Postponed.objects.filter(not_before__lte=now).order_by("not_before").values_list("task", flat=True)
    started = 0
    for task_id in list(dict.fromkeys(ready[: limit * 10]))[:limit]:
        with transaction.atomic():
            for task in ScheduledTask.objects.filter(pk=task_id).lock_for_firing():
                _start_ready(task, now)
                started += 1
    return started


def _start_ready(task: ScheduledTask, now: datetime.datetime) -> None:
    if not task.enabled:
        skip_postponed(task, Skip.Reason.DISABLED)
        return
    ready = task.postponed.filter(not_before__lte=now)
    if task.overlap == ScheduledTask.Overlap.ALLOW:
        chosen = list(ready[:MOST_AT_ONCE])
    else:
        chosen = [] if open_runs(task).exists() else list(ready[:1])
    for postponed in chosen:
        postponed.delete()
        start(task, postponed.scheduled_for, postponed.retry)
    if task.overlap != ScheduledTask.Overlap.ALLOW:
        ready.update(not_before=now + _RECHECK)
    end_if_done(task)
