"""Fires due moments, once each: one transaction moves a task to its next moment and starts the run, or says why not.

Any number of processes may fire at the same time, and their clocks may differ. The process that moves the task on
(a conditional UPDATE) owns the moment, and a moment cannot have two runs (UNIQUE task, moment, retry). Tasks are locked
before sessions, and sessions before runs, so that there is no deadlock.
"""

import datetime
import logging
import time
from dataclasses import dataclass, field

from django.db import DatabaseError, transaction
from django.db.models import Q

from agents_app import clock, schedules
from agents_app.access import limits
from agents_app.exceptions import InvalidRequest, StorageUnavailable
from agents_app.models import Postponed, ScheduledTask, Skip
from agents_app.models.tasks import ScheduledTaskQuerySet
from agents_app.observability import metrics
from agents_app.scheduler.policies import cancel_previous, end_if_done, is_busy, postpone, skip
from agents_app.scheduler.postponed import MOST_AT_ONCE
from agents_app.scheduler.starting import start

logger = logging.getLogger(__name__)

MOST_QUEUED = 100  # moments of a task with `queue`
LONGEST_HOLD = 0.02  # seconds after which a transaction takes no more in: SQLite's other writers wait for it
_MOST_COUNTED = 1000  # of a skipped stretch; beyond, "at least"
_MICROSECOND = datetime.timedelta(microseconds=1)


def fire_due(limit: int) -> bool:
    """Fire up to `limit` tasks that are due. Returns whether there may be more."""
    due = ScheduledTask.objects.filter(next_run_at__lte=clock.now()).order_by("next_run_at")
    # A task that writes into existing sessions locks them: one such task in a transaction.
    existing_sessions = Q(session=ScheduledTask.SessionMode.KEPT) | Q(overlap=ScheduledTask.Overlap.CANCEL_PREVIOUS)
    more = _fire_together(due.exclude(existing_sessions), limit)
    return _fire_together(due.filter(existing_sessions), 1) or more


def _fire_together(due: ScheduledTaskQuerySet, limit: int) -> bool:
    now, began = clock.now(), time.monotonic()
    fired = 0
    with transaction.atomic():
        for task in due.lock_for_firing()[:limit]:
            fired += _fire(task, now)
            if time.monotonic() > began + LONGEST_HOLD:
                return True
    return fired == limit


def _fire(task: ScheduledTask, now: datetime.datetime) -> bool:
    """Returns whether the task was ours to fire."""
    due = task.next_due
    assert due is not None
    try:
        # Asked again: the owner may have been an administrator when the task was saved.
        limits.check_schedule(task.owner, task.schedule_type, task.schedule_value)
        with transaction.atomic():
            return _advance(task, _due_moments(task, now), now)
    except (DatabaseError, StorageUnavailable):
        raise
    except InvalidRequest as error:
        return _disable(task, due, f"{error} The server disabled the task: change its schedule to enable it again.")
    except Exception:  # one task that cannot be fired must not keep the others from it, every second
        logger.exception("Task %s cannot be fired; it is disabled", task.pk)
        return _disable(task, due, "The server failed to fire the task, and disabled it.")


def _disable(task: ScheduledTask, due: datetime.datetime, reason: str) -> bool:
    """Disable the task, and show its owner why. Returns False if another process has moved it."""
    ours = ScheduledTask.objects.filter(pk=task.pk, next_due=due, enabled=True)
    if not ours.update(enabled=False, next_due=None, next_run_at=None):
        return False
    skip(task, due, Skip.Reason.NOT_STARTED, reason)
    return True


@dataclass(slots=True)
class _DueMoments:
    """A task's due moments: missed ones to skip (first, last, count) or to catch up, those on time; and the next."""

    skipped: tuple[datetime.datetime, datetime.datetime, int] | None = None
    catch_up: list[datetime.datetime] = field(default_factory=list)
    on_time: list[datetime.datetime] = field(default_factory=list)
    next_due: datetime.datetime | None = None

    def last(self) -> datetime.datetime | None:
        moments = [*self.catch_up, *self.on_time, *(self.skipped[1:2] if self.skipped else ())]
        return max(moments, default=None)


def _due_moments(task: ScheduledTask, now: datetime.datetime) -> _DueMoments:
    assert task.next_due is not None
    schedule, moments = task.schedule(), _DueMoments()
    boundary = now - datetime.timedelta(seconds=task.misfire_grace + task.jitter)
    for due in schedule.after(max(task.next_due, boundary) - _MICROSECOND):
        if due.at + task.delay(due.at) > now or len(moments.on_time) == MOST_AT_ONCE:
            moments.next_due = due.at
            break
        moments.on_time.append(due.at)
    if task.next_due < boundary:
        _add_missed(task, schedule, boundary - _MICROSECOND, moments)
    return moments


def _add_missed(
    task: ScheduledTask, schedule: schedules.Schedule, until: datetime.datetime, moments: _DueMoments
) -> None:
    """Add the moments up to `until`, at which no server ran, as the task's misfire policy has it."""
    first = task.next_due
    assert first is not None
    if task.misfire == ScheduledTask.Misfire.ALL:
        moments.catch_up = [due.at for due in schedules.newest(schedule, first, until, task.misfire_limit)]
    elif task.misfire == ScheduledTask.Misfire.ONCE and not moments.on_time:
        moments.catch_up = [due.at for due in schedules.newest(schedule, first, until, 1)]
    if moments.catch_up:
        until = moments.catch_up[0] - _MICROSECOND
    if last := schedules.newest(schedule, first, until, 1):
        count = schedules.count(schedule, first, last[0].at, _MOST_COUNTED)
        moments.skipped = (first, last[0].at, count)
    if task.misfire == ScheduledTask.Misfire.ALL:
        moments.catch_up += moments.on_time
        moments.on_time = []


def _advance(task: ScheduledTask, moments: _DueMoments, now: datetime.datetime) -> bool:
    """Move the task on, then start or skip its moments. Returns False if another process has moved it."""
    due, previous = task.next_due, task.last_due
    task.set_next(moments.next_due)
    task.last_due = moments.last() or previous
    changes = {"next_due": task.next_due, "next_run_at": task.next_run_at, "last_due": task.last_due}
    if not ScheduledTask.objects.filter(pk=task.pk, next_due=due, enabled=True).update(**changes):
        return False
    if moments.skipped:
        first, last, count = moments.skipped
        skip(task, first, Skip.Reason.MISSED, until=last, count=count, previous=previous)
    if task.misfire == ScheduledTask.Misfire.ALL:
        postpone(task, moments.catch_up, Postponed.Reason.CATCH_UP, now)
    else:
        for at in moments.catch_up:
            _start_unless_busy(task, at, now, previous)
    for at in moments.on_time:
        _start_unless_busy(task, at, now, previous)
        metrics.SCHEDULE_LATENESS.observe(max(0.0, (clock.now() - at - task.delay(at)).total_seconds()))
        previous = at
    end_if_done(task)
    return True


def _start_unless_busy(
    task: ScheduledTask, at: datetime.datetime, now: datetime.datetime, previous: datetime.datetime | None
) -> None:
    """Start the run of a moment, unless an earlier one is open and the overlap policy says otherwise."""
    policy, overlap = task.overlap, ScheduledTask.Overlap
    if policy == overlap.CANCEL_PREVIOUS:
        cancel_previous(task)
    elif policy != overlap.ALLOW and is_busy(task):
        if policy == overlap.SKIP:
            skip(task, at, Skip.Reason.OVERLAP, previous=previous)
        elif task.postponed.count() >= MOST_QUEUED:
            skip(task, at, Skip.Reason.QUEUE_FULL, previous=previous)
        else:
            postpone(task, [at], Postponed.Reason.QUEUE, now)
        return
    start(task, at, previous=previous)
