"""Debian's cron, minute by minute: the main loop of its cron.c and a matcher of our own, to hold ours against."""

import datetime
import zoneinfo
from collections.abc import Iterator, Sequence

MINUTE = datetime.timedelta(minutes=1)
_EPOCH = datetime.datetime(1970, 1, 1)
_RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def _field(text: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        body, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if body == "*" else body).partition("-")
        end = int(last) if last else (high if step else int(first))
        values.update(range(int(first), end + 1, int(step or 1)))
    return values


class Line:
    """A cron line of numbers, lists, ranges and steps."""

    def __init__(self, text: str) -> None:
        fields = text.split()
        self.minutes, self.hours, self.days, self.months, weekdays = (
            _field(field, *bounds) for field, bounds in zip(fields, _RANGES, strict=True)
        )
        self.weekdays = {day % 7 for day in weekdays}
        self.is_wild = fields[0].startswith("*") or fields[1].startswith("*")
        self.both_days = fields[2].startswith("*") or fields[4].startswith("*")

    def matches(self, minute: int) -> bool:
        """Whether it is due at this minute of the wall clock, counted from 1970."""
        wall = _EPOCH + minute * MINUTE
        day, weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        is_day = (day and weekday) if self.both_days else (day or weekday)
        return is_day and wall.month in self.months and wall.hour in self.hours and wall.minute in self.minutes


def minutes(zone: zoneinfo.ZoneInfo, start: datetime.datetime, end: datetime.datetime) -> list[int]:
    """What the zone's clocks show at each minute of UTC from `start` to before `end`."""
    shown, at = [], start
    while at < end:
        shown.append(int((at.astimezone(zone).replace(tzinfo=None) - _EPOCH) // MINUTE))
        at += MINUTE
    return shown


def run(line: Line, shown: Sequence[int]) -> Iterator[int]:
    """At which of these minutes cron starts the job; it has started before the first."""
    virtual = shown[0]
    for index, now in enumerate(shown[1:], start=1):
        difference = now - virtual
        if 0 < difference <= 5:
            wild, fixed, fresh = range(virtual + 1, now + 1), range(virtual + 1, now + 1), now
        elif 5 < difference <= 180:
            wild, fixed, fresh = range(now, now + 1), range(virtual + 1, now + 1), now
        elif -180 < difference <= 0:
            wild, fixed, fresh = range(now, now + 1), range(0), virtual
        else:
            wild, fixed, fresh = range(now, now + 1), range(now, now + 1), now
        virtual = fresh
        if any(map(line.matches, wild if line.is_wild else fixed)):
            yield index
