"""Workers that are alive, runs that are started, tasks that fire in time."""

import datetime
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Min
from django.utils import timezone

from agents_app import scheduler as task_scheduler
from agents_app.doctor.findings import Finding, broken, ok, plural, warning
from agents_app.models import Agent, Delivery, Run, ScheduledTask
from agents_app.queue import run_queue

_LATE, _STUCK = 10.0, 60.0  # seconds
_START_WORKERS = "Start `manage.py worker`."


def workers() -> Iterator[Finding]:
    """Check that a worker is alive. Embedded, the readiness of the server covers it."""
    if settings.EMBEDDED:
        return
    if seen := run_queue.workers_alive():
        yield ok("workers", f"{plural(seen, 'worker')} sent a heartbeat in the last seconds.")
    else:
        yield broken("workers", "None has sent a heartbeat lately: no run is executed.", _START_WORKERS)


def queue() -> Iterator[Finding]:
    """Check for runs that wait although they could continue, and for runs of dead workers."""
    now = timezone.now()
    unfinished = Run.objects.unfinished().order_by()
    abandoned = unfinished.filter(
        status=Run.Status.RUNNING, lease_until__lt=now - datetime.timedelta(seconds=_LATE)
    ).count()
    if abandoned:
        text = f"{plural(abandoned, 'run')} of dead workers, and no worker takes over."
        yield (warning if settings.EMBEDDED else broken)("queue", text, _remedy())
        return
    waiting = unfinished.waiting_for_a_worker()
    count, oldest = waiting.count(), waiting.aggregate(oldest=Min("created_at"))["oldest"]
    seconds = (now - oldest).total_seconds() if oldest else 0.0
    text = f"{plural(count, 'run')} waiting" + (f", the oldest for {seconds:.0f} s." if count else ".")
    if seconds > _STUCK:
        yield warning("queue", text, "Start more workers, or raise WORKER_CONCURRENCY.")
    else:
        yield ok("queue", text)


def scheduler() -> Iterator[Finding]:
    """Check that tasks fire when they are due, and that webhooks are delivered."""
    now = timezone.now()
    tasks = ScheduledTask.objects.filter(next_run_at__isnull=False)
    late = task_scheduler.overdue()
    if late > _LATE:
        text = (
            f"{plural(tasks.filter(next_run_at__lt=now).count(), 'task')} due and not started, for up to {late:.0f} s."
        )
        finding = broken if late > _STUCK and not settings.EMBEDDED else warning
        yield finding("scheduler", text, _remedy())
    else:
        yield ok("scheduler", f"{plural(tasks.count(), 'task')} scheduled, none late.")
    overdue = Delivery.objects.filter(
        status=Delivery.Status.PENDING, next_attempt_at__lt=now - datetime.timedelta(seconds=_STUCK)
    )
    if count := overdue.count():
        yield warning("webhooks", f"{plural(count, 'delivery', 'deliveries')} overdue.", _remedy())


def _remedy() -> str:
    return "`manage.py serve` continues with it." if settings.EMBEDDED else _START_WORKERS


def agents() -> Iterator[Finding]:
    """Check that an agent answers messages that name none."""
    default = Agent.objects.default()
    if default is None:
        yield broken("agents", "There is no enabled agent.", "Add one in the admin, or with `manage.py load_config`.")
    else:
        count = Agent.objects.enabled().count()
        yield ok("agents", f"{plural(count, 'enabled agent')}; {default.name!r} answers messages that name none.")
