"""When a task is due: cron, interval, once. Pure: no database, and no clock of its own.

Daylight saving, as cron does it on Debian. A line whose minute or hour begins with `*` follows the clock on the wall:
an hour that does not exist has no moments, one that comes twice has them twice. Any other line names times of the
day, and each is due exactly once a day: a time that does not exist is due at the first moment that does, and of a time
that comes twice the first is taken. (Debian's cron gives up on changes of three hours and more; we do not.)
"""

import datetime
import difflib
import functools
import re
import zoneinfo
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile
from typing import Protocol

from cronsim import CronSim, CronSimError

LEAST_INTERVAL = 1
LARGEST_INTERVAL = 10 * 366 * 86_400
LONGEST_VALUE = 200

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_NO_ZONES = {"localtime", "Factory", "posixrules"}
_MICROSECOND = datetime.timedelta(microseconds=1)
_SECOND = datetime.timedelta(seconds=1)
_DAY = datetime.timedelta(days=1)
_ANY_DATE = datetime.datetime(2024, 1, 1)  # to read a line, the time does not matter


class Kind(StrEnum):
    CRON = "cron"
    INTERVAL = "interval"
    ONCE = "once"


class Note(StrEnum):
    """Why a moment is where it is."""

    NORMAL = "normal"
    MOVED = "moved_by_daylight_saving"  # its time of the day does not exist on that day
    FIRST_OF_TWO = "first_of_two"  # its time comes twice on that day, and the second is passed over
    SECOND_OF_TWO = "second_of_two"  # the clock was turned back, and the line follows it


@dataclass(frozen=True, slots=True)
class Due:
    """A moment at which a schedule is due, in UTC."""

    at: datetime.datetime
    note: Note = Note.NORMAL


class BadSchedule(ValueError):
    """What was given is no schedule. `field` is `schedule_type`, `schedule_value` or `timezone`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Schedule(Protocol):
    """When something is due."""

    def after(self, moment: datetime.datetime) -> Iterator[Due]:
        """The moments that follow `moment`, in order; perhaps without end."""
        ...


def parse(kind: str, value: str, timezone: str, anchor: datetime.datetime) -> Schedule:
    """Read a schedule. `anchor`: what the moments of an interval are counted from.

    Raises:
        BadSchedule: it makes no sense; the text says why, and what would.
    """
    zone = read_zone(timezone)
    value = value.strip()
    if not value or len(value) > LONGEST_VALUE:
        raise BadSchedule("schedule_value", f"Give 1 to {LONGEST_VALUE} characters.")
    match kind:
        case Kind.CRON:
            return Cron(value, zone)
        case Kind.INTERVAL:
            return Interval(read_interval(value), anchor)
        case Kind.ONCE:
            return Once(read_moment(value, zone))
    raise BadSchedule("schedule_type", f"Must be one of: {', '.join(map(repr, map(str, Kind)))}.")


@functools.cache
def zone_names() -> frozenset[str]:
    """The IANA zones that there are."""
    return frozenset(zoneinfo.available_timezones() - _NO_ZONES)


def read_zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of that name.

    Raises:
        BadSchedule: there is none.
    """
    if name in zone_names():
        return zoneinfo.ZoneInfo(name)
    by_lower_case = {known.lower(): known for known in zone_names()}
    near = difflib.get_close_matches(name[:64].lower(), by_lower_case, n=1)
    hint = f" Did you mean {by_lower_case[near[0]]!r}?" if near else " One is, for example, 'Europe/Berlin'."
    raise BadSchedule("timezone", f"{name[:64]!r} is not an IANA time zone.{hint}")


def read_interval(text: str) -> datetime.timedelta:
    """Whole seconds.

    Raises:
        BadSchedule: they are none, or too few or too many.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or not LEAST_INTERVAL <= int(text) <= LARGEST_INTERVAL:
        raise BadSchedule(
            "schedule_value",
            f"{text!r} is not an interval. Give whole seconds from {LEAST_INTERVAL} to {LARGEST_INTERVAL}: "
            "'300' is every five minutes.",
        )
    return datetime.timedelta(seconds=int(text))


def read_moment(text: str, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """A date and time of ISO 8601; one without an offset is the zone's.

    Raises:
        BadSchedule: it is none, or one that the zone's clocks never show.
    """
    example = "Give a date and time such as '2027-03-01T09:00:00+01:00', or '2027-03-01T09:00:00' in the task's zone."
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None and len(text) > len("2027-03-01"):
            return _of_zone(moment, zone)
        if moment.tzinfo is not None:
            return moment.astimezone(datetime.UTC)
    except BadSchedule:
        raise
    except (ValueError, OverflowError) as error:
        raise BadSchedule("schedule_value", f"{text!r} is not a moment: {error}. {example}") from None
    raise BadSchedule("schedule_value", f"{text!r} has no time of the day. {example}")


def _of_zone(wall: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    moment = wall.replace(tzinfo=zone).astimezone(datetime.UTC)
    if _wall(moment, zone) != wall:
        raise BadSchedule(
            "schedule_value",
            f"{wall.isoformat()} does not exist in {zone.key}: the clocks are put forward then. Give another time.",
        )
    return moment


@dataclass(frozen=True, slots=True)
class Once:
    """One moment."""

    at: datetime.datetime

    def after(self, moment: datetime.datetime) -> Iterator[Due]:
        if self.at > moment:
            yield Due(self.at)


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from `anchor`, so that lateness never adds up."""

    step: datetime.timedelta
    anchor: datetime.datetime

    def after(self, moment: datetime.datetime) -> Iterator[Due]:
        at = self.anchor + max(1, (moment - self.anchor) // self.step + 1) * self.step
        while True:
            yield Due(at)
            at += self.step


class Cron:
    """A line of five fields, in a zone. See this module's first words for daylight saving.

    Raises:
        BadSchedule: the line makes no sense, or is never due.
    """

    def __init__(self, line: str, zone: zoneinfo.ZoneInfo) -> None:
        self.line = _expanded(line)
        self.zone = zone
        try:
            self._follows_clock = _follows_clock(self.line)
            if next(self._walk(_ANY_DATE), None) is None:
                raise BadSchedule("schedule_value", f"{line!r} is never due: there is no such day in fifty years.")
        except CronSimError as error:
            raise BadSchedule("schedule_value", _what_is_wrong(line, str(error))) from None

    def explain(self) -> str:
        """The line in words."""
        return CronSim(self.line, _ANY_DATE).explain()

    def after(self, moment: datetime.datetime) -> Iterator[Due]:
        moment = moment.astimezone(datetime.UTC)
        return self._clock_times(moment) if self._follows_clock else self._daily_times(moment)

    def _walk(self, wall: datetime.datetime) -> Iterator[datetime.datetime]:
        """The line's times after `wall`, on a clock that nobody turns."""
        return iter(CronSim(self.line, wall))

    def _daily_times(self, moment: datetime.datetime) -> Iterator[Due]:
        for wall in self._walk(_wall(moment, self.zone)):
            due = self._daily(wall)
            if due.at > moment:  # the first of two may be over, and several that do not exist are one
                yield due
                moment = due.at

    def _daily(self, wall: datetime.datetime) -> Due:
        first = wall.replace(tzinfo=self.zone)
        early, late = first.utcoffset(), first.replace(fold=1).utcoffset()
        assert early is not None and late is not None
        if early == late:
            return Due(first.astimezone(datetime.UTC))
        if early > late:
            return Due(first.astimezone(datetime.UTC), Note.FIRST_OF_TWO)
        at = wall.replace(tzinfo=datetime.UTC)
        return Due(_first_change(at - late, at - early, self.zone), Note.MOVED)

    def _clock_times(self, moment: datetime.datetime) -> Iterator[Due]:
        """Stretch by stretch of one offset from UTC: within one, the wall clock is nobody's but the line's."""
        wall = _wall(moment, self.zone)
        while True:
            offset = _offset(moment, self.zone)
            for each in self._walk(wall):
                at = each.replace(tzinfo=datetime.UTC) - offset
                if change := _next_change(moment, at, self.zone):
                    moment, wall = change, _wall(change, self.zone) - _SECOND
                    break
                is_second = at.astimezone(self.zone).fold
                yield Due(at, Note.SECOND_OF_TWO if is_second else Note.NORMAL)
                moment = at
            else:
                return


def _expanded(line: str) -> str:
    """The five fields of a line, or of a name such as `@daily`."""
    if line.startswith("@"):
        if line.lower() not in _ALIASES:
            raise BadSchedule("schedule_value", f"There is no {line!r}. There are: {', '.join(_ALIASES)}.")
        return _ALIASES[line.lower()]
    if len(line.split()) != 5:
        raise BadSchedule(
            "schedule_value",
            f"{line!r} has {len(line.split())} fields, and a cron line has five: minute, hour, day of the month, "
            "month, day of the week. '0 9 * * MON-FRI' is nine o'clock on working days.",
        )
    return line


_RANGES = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L (the last day) or LW (the last working day), and a day that the months have",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT (0 and 7 are Sunday), 5L (the last Friday) or MON#2 (the second Monday)",
}


def _what_is_wrong(line: str, error: str) -> str:
    name = error.removeprefix("Bad ")
    number = list(_RANGES).index(name)
    said = line.split()[number]
    return (
        f"The {name.replace('-', ' ')} {said!r} of {line!r} makes no sense. It is {_RANGES[name]}; "
        "with lists (1,15), ranges (1-5) and steps (*/10)."
    )


def _follows_clock(line: str) -> bool:
    minute, hour = line.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


# Zones


def _offset(moment: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _wall(moment: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """What the zone's clocks show, without the zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _next_change(
    after: datetime.datetime, until: datetime.datetime, zone: zoneinfo.ZoneInfo
) -> datetime.datetime | None:
    """The first moment of another offset in (after, until]. No zone changes its clocks and back within a day."""
    offset = _offset(after, zone)
    start = after
    while start < until:
        end = min(start + _DAY, until)
        if _offset(end, zone) != offset:
            return _first_change(start, end, zone)
        start = end
    return None


def _first_change(start: datetime.datetime, end: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """The first second of another offset in (start, end], where there is one."""
    offset = _offset(start, zone)
    seconds = -int((start - end) // _SECOND)
    same, other = 0, seconds
    while other - same > 1:
        middle = (same + other) // 2
        if _offset(start + middle * _SECOND, zone) == offset:
            same = middle
        else:
            other = middle
    return start.replace(microsecond=0) + other * _SECOND


# Questions about a schedule


def due_between(schedule: Schedule, since: datetime.datetime, until: datetime.datetime) -> Iterator[Due]:
    """The moments from `since` to `until`, both included."""
    return takewhile(lambda due: due.at <= until, schedule.after(since - _MICROSECOND))


def newest(schedule: Schedule, since: datetime.datetime, until: datetime.datetime, most: int) -> list[Due]:
    """The last moments, at most `most`, from `since` to `until`; it looks no further back than it must."""
    reach = datetime.timedelta(hours=1)
    while True:
        start = max(since, until - reach)
        found = deque(due_between(schedule, start, until), maxlen=most)
        if len(found) == most or start == since:
            return list(found)
        reach *= 8


def count(schedule: Schedule, since: datetime.datetime, until: datetime.datetime, most: int) -> int:
    """How many moments there are from `since` to `until`; it stops counting at `most`."""
    if isinstance(schedule, Interval):
        first = next(schedule.after(since - _MICROSECOND)).at
        return max(0, (until - first) // schedule.step + 1)
    return sum(1 for _ in islice(due_between(schedule, since, until), most))
