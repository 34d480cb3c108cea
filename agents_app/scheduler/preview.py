"""What a task's schedule will do: its moments in advance, each with what becomes of it and why."""

import datetime
import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from agents_app import clock, schedules
from agents_app.models import Run, ScheduledTask
from agents_app.schedules import Note

_REMEMBERED_RUNS = 20

_SENTENCES = {
    Note.NORMAL: "As scheduled.",
    Note.MOVED: "The time does not exist on that day, as the clocks are put forward: the first moment that does.",
    Note.FIRST_OF_TWO: "The time comes twice on that day, as the clocks are put back: only the first counts.",
    Note.SECOND_OF_TWO: "The hour comes twice on that day, as the clocks are put back, and the line follows the clock.",
    "overlap": "The run before will probably be going on, and the overlap policy is 'skip'.",
    "queued": "The run before will probably be going on; it starts after that, as the overlap policy is 'queue'.",
    "replaces_previous": "The run before will probably be going on, and is stopped: the policy is 'cancel_previous'.",
}


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A moment, and what becomes of it: `runs`, `waits` for the run before, or is `skipped`. Times are in UTC."""

    scheduled_for: datetime.datetime
    local_time: datetime.datetime
    starts_at: datetime.datetime | None
    outcome: str
    reason: str

    @property
    def message(self) -> str:
        return _SENTENCES[self.reason]


def usual_duration(task: ScheduledTask) -> datetime.timedelta:
    """How long the task's last runs took: the median. Nothing, where there is none yet."""
    ended = Run.objects.filter(task=task, started_at__isnull=False, finished_at__isnull=False).order_by("-created_at")
    times = ended.values_list("started_at", "finished_at")[:_REMEMBERED_RUNS]
    seconds = [(finished - started).total_seconds() for started, finished in times if started and finished]
    return datetime.timedelta(seconds=statistics.median(seconds)) if seconds else datetime.timedelta()


def simulate(
    task: ScheduledTask,
    duration: datetime.timedelta,
    *,
    count: int,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
) -> tuple[list[Foreseen], bool]:
    """The moments after `since` (now), at most `count` and none after `until`; and whether there are more.

    `duration`: how long its runs are taken to last. A disabled task is treated as if it were enabled.

    Raises:
        BadSchedule: the schedule cannot be read.
    """
    start = since or clock.now()
    found = list(itertools.islice(_foresee(task, start, duration), count + 1))
    wanted = [each for each in found if until is None or each.scheduled_for <= until]
    return wanted[:count], len(wanted) > count


def _foresee(task: ScheduledTask, start: datetime.datetime, duration: datetime.timedelta) -> Iterator[Foreseen]:
    zone, policy, overlap = schedules.read_zone(task.timezone), task.overlap, ScheduledTask.Overlap
    busy_until = _busy_until(task, duration)
    for due in task.schedule().after(start):
        starts_at: datetime.datetime | None = due.at + task.delay(due.at)
        outcome, reason = "runs", str(due.note)
        assert starts_at is not None
        if policy != overlap.ALLOW and busy_until is not None and starts_at < busy_until:
            if policy == overlap.SKIP:
                yield Foreseen(due.at, due.at.astimezone(zone), None, "skipped", "overlap")
                continue
            if policy == overlap.QUEUE:
                outcome, reason, starts_at = "waits", "queued", busy_until
            else:
                reason = "replaces_previous"
        busy_until = starts_at + duration
        yield Foreseen(due.at, due.at.astimezone(zone), starts_at, outcome, reason)


def _busy_until(task: ScheduledTask, duration: datetime.timedelta) -> datetime.datetime | None:
    """When what goes on now will probably have ended."""
    newest = Run.objects.unfinished().filter(task=task).order_by("-created_at").first()
    return max(clock.now(), (newest.started_at or newest.created_at) + duration) if newest else None
