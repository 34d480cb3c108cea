"""Fires what is due, once each: one transaction moves a task to its next moment and starts the run, or says why not.

Any number of processes may do so at a time, and their clocks may differ: whoever moves the task on has the moment
(a conditional UPDATE), and no run can be written twice for one (UNIQUE task, moment, retry). Tasks are locked before
sessions, and these before runs, so that nobody waits in a circle.
"""

import datetime
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Min, Q
from django.utils.dateparse import parse_datetime

from agents_app import clock, runs, schedules
from agents_app.database.errors import storage_errors
from agents_app.database.threads import write_transaction
from agents_app.exceptions import AgentError, AgentNotFound, SessionNotFound, StorageUnavailable
from agents_app.models import Delivery, Postponed, Run, ScheduledTask, Session, Skip
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

MOST_WAITING = 100  # moments of a task with `queue`
LONGEST_HOLD = 0.02  # seconds after which a transaction takes no more in: SQLite's other writers wait for it
MOST_AT_ONCE = 4  # moments of a task in one transaction
_COUNTED = 1000  # of a skipped stretch; beyond, "at least"
_RECHECK = datetime.timedelta(seconds=1)
_LONGEST_RETRY = datetime.timedelta(days=1)
_MICROSECOND = datetime.timedelta(microseconds=1)
_FINISHED = (Run.Status.COMPLETED, Run.Status.FAILED, Run.Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Pressing:
    """What is to be done now, and the moment at which the next task is due."""

    due: bool
    postponed: bool
    ended: bool
    deliveries: bool
    next_at: datetime.datetime | None


_PRESSING = """
SELECT
    (SELECT min(next_run_at) FROM agents_app_scheduledtask WHERE next_run_at IS NOT NULL),
    (SELECT min(not_before) FROM agents_app_postponed),
    EXISTS (SELECT 1 FROM agents_app_run
        WHERE task_id IS NOT NULL AND NOT settled AND status IN ('completed', 'failed', 'cancelled')),
    EXISTS (SELECT 1 FROM agents_app_delivery WHERE status = 'pending' AND next_attempt_at <= %s)
"""


def pressing(now: datetime.datetime) -> Pressing:
    """What is to be done: one query, answered from indexes."""
    with connection.cursor() as cursor:
        cursor.execute(_PRESSING, [connection.ops.adapt_datetimefield_value(now)])
        due, postponed, ended, deliveries = cursor.fetchone()
    moments = [_moment(due), _moment(postponed)]
    is_due, is_postponed = (at is not None and at <= now for at in moments)
    later = [at for at in moments if at is not None and at > now]
    return Pressing(is_due, is_postponed, bool(ended), bool(deliveries), min(later, default=None))


def _moment(value: Any) -> datetime.datetime | None:
    """What the database says of a moment: SQLite knows only text."""
    if isinstance(value, str):
        found = parse_datetime(value)
        return found and found.replace(tzinfo=datetime.UTC)
    return value


def overdue() -> float:
    """For how many seconds the task that should have fired first has been due; 0 where none is."""
    due = ScheduledTask.objects.filter(next_run_at__isnull=False).aggregate(at=Min("next_run_at"))["at"]
    return max(0.0, (clock.now() - due).total_seconds()) if due else 0.0


# What is due


def fire_due(limit: int) -> bool:
    """Fire up to `limit` tasks that are due. Returns whether there may be more."""
    due = ScheduledTask.objects.filter(next_run_at__lte=clock.now()).order_by("next_run_at")
    # Whoever writes into sessions that there are already locks them: one task's in one transaction.
    known_sessions = Q(session=ScheduledTask.SessionMode.KEPT) | Q(overlap=ScheduledTask.Overlap.CANCEL_PREVIOUS)
    more = _fire_together(due.exclude(known_sessions), limit)
    return _fire_together(due.filter(known_sessions), 1) or more


def _fire_together(due: Any, limit: int) -> bool:
    now, began = clock.now(), time.monotonic()
    fired = 0
    with write_transaction():
        for task in _locked(due)[:limit]:
            fired += _fire(task, now)
            if time.monotonic() > began + LONGEST_HOLD:
                return True
    return fired == limit


def _locked(tasks: Any) -> Any:
    """These tasks, locked; what another process is at is passed over."""
    return tasks.select_related("agent", "owner").select_for_update(of=("self",), skip_locked=True)


def _fire(task: ScheduledTask, now: datetime.datetime) -> bool:
    """Returns whether the task was ours to fire."""
    came = task.next_due
    assert came is not None
    try:
        with transaction.atomic():
            return _take_up(task, _look(task, now), now)
    except (DatabaseError, StorageUnavailable):
        raise
    except Exception:  # one task that cannot be fired must not keep the others from it, every second
        logger.exception("Task %s cannot be fired; it is disabled", task.pk)
        ScheduledTask.objects.filter(pk=task.pk).update(enabled=False, next_due=None, next_run_at=None)
        _skip(task, came, Skip.Reason.NOT_STARTED, "The server failed to fire the task, and disabled it.")
        return True


@dataclass(slots=True)
class _Found:
    """The moments that have come: missed ones to leave out and to make up for, those on time, and the next."""

    skipped: tuple[datetime.datetime, datetime.datetime, int] | None = None
    catch_up: list[datetime.datetime] = field(default_factory=list)
    on_time: list[datetime.datetime] = field(default_factory=list)
    following: datetime.datetime | None = None

    def last(self) -> datetime.datetime | None:
        came = [*self.catch_up, *self.on_time, *(self.skipped[1:2] if self.skipped else ())]
        return max(came, default=None)


def _look(task: ScheduledTask, now: datetime.datetime) -> _Found:
    assert task.next_due is not None
    schedule, found = task.schedule(), _Found()
    boundary = now - datetime.timedelta(seconds=task.misfire_grace + task.jitter)
    for due in schedule.after(max(task.next_due, boundary) - _MICROSECOND):
        if due.at + task.delay(due.at) > now or len(found.on_time) == MOST_AT_ONCE:
            found.following = due.at
            break
        found.on_time.append(due.at)
    if task.next_due < boundary:
        _look_back(task, schedule, boundary - _MICROSECOND, found)
    return found


def _look_back(task: ScheduledTask, schedule: schedules.Schedule, until: datetime.datetime, found: _Found) -> None:
    """What to do with the moments before `until`, at which no server ran."""
    first = task.next_due
    assert first is not None
    if task.misfire == ScheduledTask.Misfire.ALL:
        found.catch_up = [due.at for due in schedules.newest(schedule, first, until, task.misfire_limit)]
    elif task.misfire == ScheduledTask.Misfire.ONCE and not found.on_time:
        found.catch_up = [due.at for due in schedules.newest(schedule, first, until, 1)]
    if found.catch_up:
        until = found.catch_up[0] - _MICROSECOND
    if last := schedules.newest(schedule, first, until, 1):
        count = schedules.count(schedule, first, last[0].at, _COUNTED)
        found.skipped = (first, last[0].at, count)
    if task.misfire == ScheduledTask.Misfire.ALL:
        found.catch_up += found.on_time
        found.on_time = []


def _take_up(task: ScheduledTask, found: _Found, now: datetime.datetime) -> bool:
    """Move the task on; whoever does so has the moments. Returns whether it was us."""
    came, before = task.next_due, task.last_due
    task.set_next(found.following)
    task.last_due = found.last() or before
    moved = {"next_due": task.next_due, "next_run_at": task.next_run_at, "last_due": task.last_due}
    if not ScheduledTask.objects.filter(pk=task.pk, next_due=came, enabled=True).update(**moved):
        return False
    if found.skipped:
        first, last, count = found.skipped
        _skip(task, first, Skip.Reason.MISSED, until=last, count=count, before=before)
    if task.misfire == ScheduledTask.Misfire.ALL:
        _postpone(task, found.catch_up, Postponed.Reason.CATCH_UP, now)
    else:
        for at in found.catch_up:
            _begin(task, at, now, before)
    for at in found.on_time:
        _begin(task, at, now, before)
        metrics.SCHEDULE_LATENESS.observe(max(0.0, (clock.now() - at - task.delay(at)).total_seconds()))
        before = at
    _end_if_done(task)
    return True


def _begin(
    task: ScheduledTask, at: datetime.datetime, now: datetime.datetime, before: datetime.datetime | None
) -> None:
    """Start the run of a moment, unless the one before is going on and the task says otherwise."""
    policy, busy = task.overlap, ScheduledTask.Overlap
    if policy == busy.CANCEL_PREVIOUS:
        _clear(task)
    elif policy != busy.ALLOW and _is_busy(task):
        if policy == busy.SKIP:
            _skip(task, at, Skip.Reason.OVERLAP, before=before)
        elif task.postponed.count() >= MOST_WAITING:
            _skip(task, at, Skip.Reason.QUEUE_FULL, before=before)
        else:
            _postpone(task, [at], Postponed.Reason.QUEUE, now)
        return
    _start(task, at, before=before)


def _is_busy(task: ScheduledTask) -> bool:
    """Whether a moment before goes on, or waits. What only waits to be repeated does not hold up the next."""
    return _open_runs(task).exists() or task.postponed.exclude(reason=Postponed.Reason.RETRY).exists()


def _open_runs(task: ScheduledTask) -> Any:
    return Run.objects.unfinished().filter(task=task, settled=False)


def _clear(task: ScheduledTask) -> None:
    """Stop what goes on, and give up what waits."""
    for run in _open_runs(task).order_by("session_id"):
        runs.cancel(run, by="schedule")
    _give_up(task, Skip.Reason.REPLACED)


def _give_up(task: ScheduledTask, reason: str) -> None:
    for waiting in task.postponed.all():
        _skip(task, waiting.scheduled_for, reason, "It was to be repeated." if waiting.retry else "")
    task.postponed.all().delete()


def _postpone(
    task: ScheduledTask,
    moments: list[datetime.datetime],
    reason: str,
    not_before: datetime.datetime,
    retry: int = 0,
) -> None:
    rows = [Postponed(task=task, scheduled_for=at, retry=retry, reason=reason, not_before=not_before) for at in moments]
    Postponed.objects.bulk_create(rows, ignore_conflicts=True)


def _skip(
    task: ScheduledTask,
    at: datetime.datetime,
    reason: str,
    message: str = "",
    *,
    until: datetime.datetime | None = None,
    count: int = 1,
    before: datetime.datetime | None = None,
) -> None:
    """Write down that nothing is run. `before`: the moment before; if that one was skipped too, they share a row."""
    last = until or at
    transaction.on_commit(lambda: metrics.SCHEDULE_SKIPS.labels(str(reason)).inc(count))
    if before is not None:
        newest = task.skips.order_by("-until", "-pk").first()
        if newest and newest.until == before and (newest.reason, newest.message) == (reason, message):
            task.skips.filter(pk=newest.pk).update(until=last, count=newest.count + count)
            return
    task.skips.create(scheduled_for=at, until=last, count=count, reason=reason, message=message)


# How a run is started

_REASONS: dict[type[AgentError], str] = {
    AgentNotFound: Skip.Reason.AGENT_UNAVAILABLE,
    SessionNotFound: Skip.Reason.SESSION_UNAVAILABLE,
}


def _start(task: ScheduledTask, at: datetime.datetime, retry: int = 0, before: datetime.datetime | None = None) -> None:
    """Write the run of a moment; where it cannot be started, why."""
    if not task.owner.is_active:
        _skip(task, at, Skip.Reason.OWNER_INACTIVE, before=before)
        return
    try:
        with transaction.atomic():
            run = _write_run(task, session_id=_session(task), trigger=Run.Trigger.SCHEDULE).run
            Run.objects.filter(pk=run.pk).update(task=task, scheduled_for=at, retry=retry)
            transaction.on_commit(metrics.SCHEDULE_FIRES.inc)
    except IntegrityError:
        logger.info("Task %s has been fired for %s before", task.pk, at)
    except StorageUnavailable:
        raise
    except AgentError as error:
        _skip(task, at, _REASONS.get(type(error), Skip.Reason.NOT_STARTED), str(error), before=before)


def _write_run(task: ScheduledTask, **how: Any) -> runs.Started:
    return runs.start(user=task.owner, message=task.task_prompt, agent_name=task.agent.name, **how)


def _session(task: ScheduledTask) -> str:
    """The session of the task's next run."""
    is_kept = task.session == ScheduledTask.SessionMode.KEPT
    if is_kept and task.kept_session_id:
        return task.kept_session_id
    session = Session.objects.create(pk=f"task-{task.pk}-{secrets.token_hex(4)}", owner=task.owner, title=task.name)
    if is_kept:
        ScheduledTask.objects.filter(pk=task.pk).update(kept_session=session)
        task.kept_session = session
    return session.pk


def run_now(
    task: ScheduledTask, *, trigger: str, message_id: str | None = None, session_id: str | None = None
) -> runs.Started:
    """Run the task once more, now, whatever its schedule and overlap policy say. A disabled task can be run too.

    Raises:
        AgentError: as of `runs.start`; nothing was written.
    """
    with storage_errors(), write_transaction():
        task = ScheduledTask.objects.select_related("agent", "owner").select_for_update(of=("self",)).get(pk=task.pk)
        if session_id is None or task.session == ScheduledTask.SessionMode.KEPT:
            session_id = _session(task)
        started = _write_run(task, session_id=session_id, trigger=trigger, message_id=message_id)
        if started.created:
            Run.objects.filter(pk=started.run.pk).update(task=task)
            started.run.task = task
        return started


# What was postponed


def start_postponed(limit: int) -> int:
    """Start what has waited long enough, of up to `limit` tasks. Returns how many of them there were."""
    now = clock.now()
    ready = Postponed.objects.filter(not_before__lte=now).order_by("not_before").values_list("task", flat=True)
    started = 0
    for task_id in list(dict.fromkeys(ready[: limit * 10]))[:limit]:
        with write_transaction():
            for task in _locked(ScheduledTask.objects.filter(pk=task_id)):
                _start_postponed(task, now)
                started += 1
    return started


def _start_postponed(task: ScheduledTask, now: datetime.datetime) -> None:
    if not task.enabled:
        _give_up(task, Skip.Reason.DISABLED)
        return
    ready = task.postponed.filter(not_before__lte=now)
    if task.overlap == ScheduledTask.Overlap.ALLOW:
        chosen = list(ready[:MOST_AT_ONCE])
    else:
        chosen = [] if _open_runs(task).exists() else list(ready[:1])
    for each in chosen:
        each.delete()
        _start(task, each.scheduled_for, each.retry)
    if task.overlap != ScheduledTask.Overlap.ALLOW:
        ready.update(not_before=now + _RECHECK)
    _end_if_done(task)


# How a run ended


def settle(limit: int) -> int:
    """See how up to `limit` runs of tasks ended: repeat what failed, tell webhooks. Returns how many there were."""
    ended = Run.objects.filter(task__isnull=False, settled=False, status__in=_FINISHED)
    settled = 0
    with write_transaction():
        found = list(ended.values_list("pk", "task")[:limit])
        locked = _locked(ScheduledTask.objects.filter(pk__in={task for _, task in found}))
        tasks = {task.pk: task for task in locked}
        for run_id, task_id in found:
            if task_id in tasks and Run.objects.filter(pk=run_id, settled=False).update(settled=True):
                _settle(tasks[task_id], Run.objects.get(pk=run_id))
                settled += 1
    return settled


def _settle(task: ScheduledTask, run: Run) -> None:
    if task.webhook_url:
        Delivery.objects.create(task=task, run=run, next_attempt_at=clock.now())
    if run.scheduled_for and run.status == Run.Status.FAILED and run.retry < task.max_retries and task.enabled:
        delay = min(datetime.timedelta(seconds=task.retry_delay * 2**run.retry), _LONGEST_RETRY)
        _postpone(task, [run.scheduled_for], Postponed.Reason.RETRY, clock.now() + delay, run.retry + 1)
    _end_if_done(task)


def _end_if_done(task: ScheduledTask) -> None:
    """Disable a task that has no moment to come and nothing to finish."""
    if task.next_due is None and not _open_runs(task).exists() and not task.postponed.exists():
        ScheduledTask.objects.filter(pk=task.pk, enabled=True, next_due=None).update(enabled=False)
