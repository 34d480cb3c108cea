"""IANA time zones, and when their clocks change."""

import datetime
import difflib
import functools
import zoneinfo

from agents_app.schedules.base import BadSchedule

_NO_ZONES = {"localtime", "Factory", "posixrules"}
_SECOND = datetime.timedelta(seconds=1)
_DAY = datetime.timedelta(days=1)


@functools.cache
def zone_names() -> frozenset[str]:
    """Return the names of all IANA zones."""
    return frozenset(zoneinfo.available_timezones() - _NO_ZONES)


def read_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the zone of that name.

    Raises:
        BadSchedule: there is no such zone.
    """
    if name in zone_names():
        return zoneinfo.ZoneInfo(name)
    by_lower_case = {zone.lower(): zone for zone in zone_names()}
    matches = difflib.get_close_matches(name[:64].lower(), by_lower_case, n=1)
    hint = f" Did you mean {by_lower_case[matches[0]]!r}?" if matches else " Example: 'Europe/Berlin'."
    raise BadSchedule("timezone", f"{name[:64]!r} is not an IANA time zone.{hint}")


def offset_at(moment: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def wall_time(moment: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """Return what the zone's clocks show, as a naive time."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def next_change(
    after: datetime.datetime, until: datetime.datetime, zone: zoneinfo.ZoneInfo
) -> datetime.datetime | None:
    """Return the first moment in (after, until] with another offset. No zone changes its clocks twice within a day."""
    offset = offset_at(after, zone)
    start = after
    while start < until:
        end = min(start + _DAY, until)
        if offset_at(end, zone) != offset:
            return _first_change(start, end, zone)
        start = end
    return None


def _first_change(start: datetime.datetime, end: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """Return the first second in (start, end] with another offset; `end` has another one."""
    offset = offset_at(start, zone)
    seconds = -int((start - end) // _SECOND)
    same, other = 0, seconds
    while other - same > 1:
        middle = (same + other) // 2
        if offset_at(start + middle * _SECOND, zone) == offset:
            same = middle
        else:
            other = middle
    return start.replace(microsecond=0) + other * _SECOND
