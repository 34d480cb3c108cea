"""Cron lines.

Daylight saving, as cron does it on Debian. A line whose minute or hour begins with `*` follows the clock on the wall:
an hour that does not exist has no moments, one that comes twice has them twice. Any other line names times of the
day, and each is due exactly once a day: a time that does not exist is due at the first moment that does, and of a time
that comes twice the first is taken. (Debian's cron gives up on changes of three hours and more; we do not.)
"""

import datetime
import zoneinfo
from collections.abc import Iterator

from cronsim import CronSim, CronSimError

from agents_app.schedules.base import BadSchedule, Due, Note
from agents_app.schedules.zones import first_change, next_change, offset_at, wall_time

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_SECOND = datetime.timedelta(seconds=1)
_ANY_DATE = datetime.datetime(2024, 1, 1)  # to read a line, the time does not matter


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
        for wall in self._walk(wall_time(moment, self.zone)):
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
        return Due(first_change(at - late, at - early, self.zone), Note.MOVED)

    def _clock_times(self, moment: datetime.datetime) -> Iterator[Due]:
        """Stretch by stretch of one offset from UTC: within one, the wall clock is nobody's but the line's."""
        wall = wall_time(moment, self.zone)
        while True:
            offset = offset_at(moment, self.zone)
            for each in self._walk(wall):
                at = each.replace(tzinfo=datetime.UTC) - offset
                if change := next_change(moment, at, self.zone):
                    moment, wall = change, wall_time(change, self.zone) - _SECOND
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
