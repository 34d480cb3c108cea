"""Whether work is done: workers that live, runs that are taken, tasks that fire in time."""

import datetime
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Min
from django.utils import timezone

from agents_app import queue as dispatch
from agents_app.doctor.findings import Finding, broken, ok, plural, warning
from agents_app.models import Agent, Delivery, Run, ScheduledTask

_LATE, _STUCK = 10.0, 60.0  # seconds
_START_WORKERS = "Start `manage.py worker`."


def workers() -> Iterator[Finding]:
    """Whether a worker has given a sign of life. Embedded, the server is asked instead."""
    if settings.EMBEDDED:
        return
    if seen := dispatch.workers_seen():
        yield ok("workers", f"{plural(seen, 'worker')} gave a sign of life in the last seconds.")
    else:
        yield broken("workers", "None has given a sign of life lately: nothing executes a run.", _START_WORKERS)


def queue() -> Iterator[Finding]:
    """Whether runs wait that could go on, or were left behind."""
    now = timezone.now()
    unfinished = Run.objects.unfinished().order_by()
    left = unfinished.filter(status=Run.Status.RUNNING, lease_until__lt=now - datetime.timedelta(seconds=_LATE)).count()
    if left:
        text = f"{plural(left, 'run')} of workers that died, and nobody takes over."
        yield (warning if settings.EMBEDDED else broken)("queue", text, _remedy())
        return
    # Behind another run of its session, a queued one waits as long as that takes.
    busy = unfinished.exclude(status=Run.Status.QUEUED).values("session_id")
    waiting = unfinished.filter(status=Run.Status.QUEUED).exclude(session_id__in=busy)
    count, oldest = waiting.count(), waiting.aggregate(oldest=Min("created_at"))["oldest"]
    seconds = (now - oldest).total_seconds() if oldest else 0.0
    text = f"{plural(count, 'run')} waiting" + (f", the oldest for {seconds:.0f} s." if count else ".")
    if seconds > _STUCK:
        yield warning("queue", text, "Start more workers, or raise WORKER_CONCURRENCY.")
    else:
        yield ok("queue", text)


def scheduler() -> Iterator[Finding]:
    """Whether tasks fire when they are due, and webhooks are told."""
    now = timezone.now()
    tasks = ScheduledTask.objects.filter(next_run_at__isnull=False)
    first = tasks.aggregate(first=Min("next_run_at"))["first"]
    late = (now - first).total_seconds() if first else 0.0
    if late > _LATE:
        text = f"{plural(tasks.filter(next_run_at__lt=now).count(), 'task')} due and not fired, for up to {late:.0f} s."
        grave = broken if late > _STUCK and not settings.EMBEDDED else warning
        yield grave("scheduler", text, _remedy())
    else:
        yield ok("scheduler", f"{plural(tasks.count(), 'task')} to come, none late.")
    owing = Delivery.objects.filter(
        status=Delivery.Status.PENDING, next_attempt_at__lt=now - datetime.timedelta(seconds=_STUCK)
    )
    if count := owing.count():
        yield warning("webhooks", f"{plural(count, 'delivery', 'deliveries')} overdue.", _remedy())


def _remedy() -> str:
    return "`manage.py serve` goes on with it." if settings.EMBEDDED else _START_WORKERS


def agents() -> Iterator[Finding]:
    """Whether somebody answers where a message names nobody."""
    default = Agent.objects.default()
    if default is None:
        yield broken("agents", "There is no enabled agent.", "Add one in the admin, or with `manage.py load_config`.")
    else:
        count = Agent.objects.enabled().count()
        yield ok("agents", f"{plural(count, 'enabled agent')}; {default.name!r} answers where none is named.")
