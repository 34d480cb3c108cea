"""The messages to webhooks in the database: which ones are sent next, and what became of them."""

import datetime
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Count, Min

from agents_app import clock
from agents_app.models import Delivery, Run, ScheduledTask
from agents_app.observability import metrics
from agents_app.scheduler.receivers import Receiver, Waiting, take_turns

# Seconds between attempts; after the last one the delivery has failed.
DELAYS = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000)
MOST_PENDING = 100  # of one task; a receiver that takes none for so long does not get what follows
_LEASE = datetime.timedelta(seconds=60)  # after this, the attempt has ended, or its process has died


def enqueue(task: ScheduledTask, run: Run) -> None:
    """Add the message about a run of the task; it has failed at once if too many wait already."""
    pending = Delivery.objects.filter(task=task, status=Delivery.Status.PENDING)[:MOST_PENDING].count()
    delivery = Delivery(task=task, run=run, next_attempt_at=clock.now())
    if pending >= MOST_PENDING:
        delivery.status = Delivery.Status.FAILED
        delivery.error = f"Not sent: {MOST_PENDING} messages of this task wait for its webhook already."
        metrics.WEBHOOKS.labels("failed").inc()
    delivery.save(force_insert=True)


def claim(sending: Iterable[Receiver]) -> list[Delivery]:
    """Claim messages that are due, so that no other process sends them now: as many as may be sent beside `sending`."""
    now = clock.now()
    due = Delivery.objects.filter(status=Delivery.Status.PENDING, next_attempt_at__lte=now)
    turns = take_turns(_waiting(due), sending)
    claimed = []
    with transaction.atomic():
        for task, count in turns.items():
            rows = (
                due.filter(task=task)
                .select_related("task__owner", "run__task", "run__session")
                .order_by("next_attempt_at")
            )
            claimed += [delivery for delivery in rows[:count] if _take(delivery, now)]
    return [delivery for delivery in claimed if _has_target(delivery)]


def _waiting(due: Any) -> list[Waiting]:
    """Return what is due, by task, oldest first."""
    tasks = due.values("task", "task__owner", "task__webhook_url").annotate(at=Min("next_attempt_at"), n=Count("pk"))
    return [
        Waiting(row["task"], Receiver.of(row["task__owner"], row["task__webhook_url"]), row["n"])
        for row in tasks.order_by("at")
    ]


def _take(delivery: Delivery, now: datetime.datetime) -> bool:
    """Count the attempt, unless another process was quicker."""
    ours = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, status=Delivery.Status.PENDING)
    delivery.attempts += 1
    return bool(ours.update(attempts=delivery.attempts, next_attempt_at=now + _LEASE))


def _has_target(delivery: Delivery) -> bool:
    """Whether the task still has a webhook. If not, the delivery has failed."""
    if delivery.task.webhook_url and delivery.task.webhook_secret:
        return True
    finish(delivery, "The task no longer has a webhook.", True)
    return False


def is_last_attempt(delivery: Delivery) -> bool:
    return delivery.attempts > len(DELAYS)


def finish(delivery: Delivery, error: str, is_final: bool) -> None:
    """Record the outcome of an attempt, and when the next one is due."""
    ours = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts)
    now = clock.now()
    with transaction.atomic():
        outcome = "retried"
        if not error:
            outcome = "delivered"
            ours.update(status=Delivery.Status.DELIVERED, error="", delivered_at=now)
        elif is_final or is_last_attempt(delivery):
            outcome = "failed"
            ours.update(status=Delivery.Status.FAILED, error=error)
        else:
            wait = datetime.timedelta(seconds=DELAYS[delivery.attempts - 1])
            ours.update(error=error, next_attempt_at=now + wait)
    metrics.WEBHOOKS.labels(outcome).inc()
