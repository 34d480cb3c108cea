"""Questions about the moments of a schedule."""

import datetime
from collections import deque
from collections.abc import Iterator
from itertools import islice, takewhile

from agents_app.schedules.base import Due, Schedule
from agents_app.schedules.schedule import Interval

_MICROSECOND = datetime.timedelta(microseconds=1)


def due_between(schedule: Schedule, since: datetime.datetime, until: datetime.datetime) -> Iterator[Due]:
    """Yield the moments from `since` to `until`, both included."""
    return takewhile(lambda due: due.at <= until, schedule.after(since - _MICROSECOND))


def newest(schedule: Schedule, since: datetime.datetime, until: datetime.datetime, most: int) -> list[Due]:
    """Return the last moments, at most `most`, from `since` to `until`. Looks no further back than it must."""
    reach = datetime.timedelta(hours=1)
    while True:
        start = max(since, until - reach)
        moments = deque(due_between(schedule, start, until), maxlen=most)
        if len(moments) == most or start == since:
            return list(moments)
        reach *= 8


def count(schedule: Schedule, since: datetime.datetime, until: datetime.datetime, most: int) -> int:
    """Count the moments from `since` to `until`; stop at `most`."""
    if isinstance(schedule, Interval):
        first = next(schedule.after(since - _MICROSECOND)).at
        return max(0, (until - first) // schedule.step + 1)
    return sum(1 for _ in islice(due_between(schedule, since, until), most))
