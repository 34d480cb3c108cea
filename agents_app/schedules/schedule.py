"""The kinds of schedules, and how their text is parsed. Pure: no database and no clock."""

import datetime
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from agents_app.schedules.base import EARLIEST, LATEST, BadSchedule, Due, Schedule
from agents_app.schedules.cron import Cron
from agents_app.schedules.zones import read_zone, wall_time

LEAST_INTERVAL = 1
LARGEST_INTERVAL = 10 * 366 * 86_400
LONGEST_VALUE = 200


class Kind(StrEnum):
    CRON = "cron"
    INTERVAL = "interval"
    ONCE = "once"


def parse(kind: str, value: str, timezone: str, anchor: datetime.datetime) -> Schedule:
    """Parse a schedule. `anchor`: the moment from which an interval is counted.

    Raises:
        BadSchedule: it is invalid; the text says why, and what is valid.
    """
    zone = read_zone(timezone)
    value = value.strip()
    if not value or len(value) > LONGEST_VALUE:
        raise BadSchedule("schedule_value", f"Enter 1 to {LONGEST_VALUE} characters.")
    match kind:
        case Kind.CRON:
            return Cron(value, zone)
        case Kind.INTERVAL:
            return Interval(read_interval(value), anchor)
        case Kind.ONCE:
            return Once(read_moment(value, zone))
    raise BadSchedule("schedule_type", f"Must be one of: {', '.join(map(repr, map(str, Kind)))}.")


def read_interval(text: str) -> datetime.timedelta:
    """Parse an interval: whole seconds.

    Raises:
        BadSchedule: not a whole number, or out of range.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or not LEAST_INTERVAL <= int(text) <= LARGEST_INTERVAL:
        raise BadSchedule(
            "schedule_value",
            f"{text!r} is not an interval. Use whole seconds from {LEAST_INTERVAL} to {LARGEST_INTERVAL}: "
            "'300' is every five minutes.",
        )
    return datetime.timedelta(seconds=int(text))


def read_moment(text: str, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """Parse a date and time in ISO 8601; without an offset, it is in `zone`.

    Raises:
        BadSchedule: not a date and time, too far away, or one that the zone's clocks never show.
    """
    example = "Use a date and time such as '2027-03-01T09:00:00+01:00', or '2027-03-01T09:00:00' in the task's zone."
    try:
        moment = datetime.datetime.fromisoformat(text)
        if not EARLIEST.year <= moment.year < LATEST.year:
            years = f"{EARLIEST.year} to {LATEST.year - 1}"
            raise BadSchedule("schedule_value", f"{text!r} is out of range: use a year from {years}.")
        if moment.tzinfo is None and len(text) > len("2027-03-01"):
            return _of_zone(moment, zone)
        if moment.tzinfo is not None:
            return moment.astimezone(datetime.UTC)
    except BadSchedule:
        raise
    except (ValueError, OverflowError) as error:
        raise BadSchedule("schedule_value", f"{text!r} is not a date and time: {error}. {example}") from None
    raise BadSchedule("schedule_value", f"{text!r} has no time of day. {example}")


def _of_zone(wall: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    moment = wall.replace(tzinfo=zone).astimezone(datetime.UTC)
    if wall_time(moment, zone) != wall:
        raise BadSchedule(
            "schedule_value",
            f"{wall.isoformat()} does not exist in {zone.key}: the clocks go forward then. Use another time.",
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
    """A fixed interval, counted from `anchor`, so that lateness does not accumulate."""

    step: datetime.timedelta
    anchor: datetime.datetime

    def after(self, moment: datetime.datetime) -> Iterator[Due]:
        at = self.anchor + max(1, (moment - self.anchor) // self.step + 1) * self.step
        while at < LATEST:
            yield Due(at)
            at += self.step
