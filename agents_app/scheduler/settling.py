"""Settles the ended runs of tasks: retries what failed, and queues the webhook's message."""

import datetime

from django.db import transaction

from agents_app import clock
from agents_app.models import Postponed, Run, ScheduledTask
from agents_app.scheduler import deliveries
from agents_app.scheduler.policies import end_if_done, postpone

_LONGEST_RETRY = datetime.timedelta(days=1)
_FINISHED = (Run.Status.COMPLETED, Run.Status.FAILED, Run.Status.CANCELLED)


def settle(limit: int) -> int:
    """Settle up to `limit` runs of tasks that have ended. Returns their number."""
    ended = Run.objects.filter(task__isnull=False, settled=False, status__in=_FINISHED)
    settled = 0
    with transaction.atomic():
        rows = list(ended.values_list("pk", "task")[:limit])
        locked = ScheduledTask.objects.filter(pk__in={task for _, task in rows}).lock_for_firing()
        tasks = {task.pk: task for task in locked}
        for run_id, task_id in rows:
            if task_id in tasks and Run.objects.filter(pk=run_id, settled=False).update(settled=True):
                _settle(tasks[task_id], Run.objects.get(pk=run_id))
                settled += 1
    return settled


def _settle(task: ScheduledTask, run: Run) -> None:
    if task.webhook_url:
        deliveries.enqueue(task, run)
    if run.scheduled_for and run.status == Run.Status.FAILED and run.retry < task.max_retries and task.enabled:
        delay = min(datetime.timedelta(seconds=task.retry_delay * 2**run.retry), _LONGEST_RETRY)
        postpone(task, [run.scheduled_for], Postponed.Reason.RETRY, clock.now() + delay, run.retry + 1)
    end_if_done(task)
