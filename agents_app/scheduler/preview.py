"""Preview a task's schedule: its future due moments, each with its outcome and reason."""

import datetime
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agents_app import clock, schedules
from agents_app.models import Run, ScheduledTask
from agents_app.schedules import Note

_RECENT_RUNS = 20
LONGEST_COMPUTATION = (
    0.5  # seconds of computing after which a preview ends: of a cron line that is seldom due, 1000 take several
)

_SENTENCES = {
    Note.NORMAL: "As scheduled.",
    Note.MOVED: "The clocks go forward and skip this time on that day: it runs at the next moment that exists.",
    Note.FIRST_OF_TWO: "The clocks go back and this time occurs twice on that day: only the first one counts.",
    Note.SECOND_OF_TWO: "The clocks go back and this hour occurs twice on that day: the cron line follows the clock.",
    "overlap": "The previous run will probably not have ended; the overlap policy is 'skip'.",
    "queued": "The previous run will probably not have ended; by the overlap policy 'queue' it starts afterwards.",
    "replaces_previous": "The previous run will probably not have ended; by the overlap policy it is cancelled.",
}


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A due moment and its outcome: `runs`, `waits` for the previous run, or `skipped`. Times are in UTC."""

    scheduled_for: datetime.datetime
    local_time: datetime.datetime
    starts_at: datetime.datetime | None
    outcome: str
    reason: str

    @property
    def message(self) -> str:
        return _SENTENCES[self.reason]


def usual_duration(task: ScheduledTask) -> datetime.timedelta:
    """Return the median duration of the task's recent runs; zero if there are none."""
    ended = Run.objects.filter(task=task, started_at__isnull=False, finished_at__isnull=False).order_by("-created_at")
    times = ended.values_list("started_at", "finished_at")[:_RECENT_RUNS]
    seconds = [(finished - started).total_seconds() for started, finished in times if started and finished]
    return datetime.timedelta(seconds=statistics.median(seconds)) if seconds else datetime.timedelta()


def simulate(
    task: ScheduledTask,
    duration: datetime.timedelta,
    *,
    count: int,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
) -> tuple[list[PlannedRun], bool]:
    """Return the moments after `since` (default: now) up to `until`, at most `count`, and whether there are more.

    If they take long to compute, there are fewer, and more of them. `duration`: the assumed duration of each run. A
    disabled task is treated as if it were enabled.

    Raises:
        BadSchedule: the schedule is invalid.
    """
    start = since or clock.now()
    ends_at = time.thread_time() + LONGEST_COMPUTATION
    planned: list[PlannedRun] = []
    for each in _plan(task, start, duration):
        if until is not None and each.scheduled_for > until:
            break
        if len(planned) == count or (planned and time.thread_time() > ends_at):
            return planned, True
        planned.append(each)
    return planned, False


def _plan(task: ScheduledTask, start: datetime.datetime, duration: datetime.timedelta) -> Iterator[PlannedRun]:
    zone, policy, overlap = schedules.read_zone(task.timezone), task.overlap, ScheduledTask.Overlap
    busy_until = _busy_until(task, duration)
    for due in task.schedule().after(start):
        starts_at: datetime.datetime | None = due.at + task.delay(due.at)
        outcome, reason = "runs", str(due.note)
        assert starts_at is not None
        if policy != overlap.ALLOW and busy_until is not None and starts_at < busy_until:
            if policy == overlap.SKIP:
                yield PlannedRun(due.at, due.at.astimezone(zone), None, "skipped", "overlap")
                continue
            if policy == overlap.QUEUE:
                outcome, reason, starts_at = "waits", "queued", busy_until
            else:
                reason = "replaces_previous"
        busy_until = starts_at + duration
        yield PlannedRun(due.at, due.at.astimezone(zone), starts_at, outcome, reason)


def _busy_until(task: ScheduledTask, duration: datetime.timedelta) -> datetime.datetime | None:
    """Return when the present run will probably end; None if there is none."""
    newest = Run.objects.unfinished().filter(task=task).order_by("-created_at").first()
    return max(clock.now(), (newest.started_at or newest.created_at) + duration) if newest else None
