"""Schedules: which moments they name, in every zone, through every change of the clocks."""

import bisect
import datetime
import functools
import os
import random
import zoneinfo
from array import array
from itertools import islice, pairwise

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from agents_app import schedules
from agents_app.schedules import BadSchedule, Note
from tests.schedules import reference_cron

UTC = datetime.UTC
ANCHOR = datetime.datetime(2026, 1, 1, tzinfo=UTC)
TEN_YEARS = (datetime.datetime(2024, 1, 1, tzinfo=UTC), datetime.datetime(2034, 1, 1, tzinfo=UTC))
HOUR, DAY, WEEK = (datetime.timedelta(hours=hours) for hours in (1, 24, 24 * 7))


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).astimezone(UTC)


def cron(line: str, zone: str = "UTC") -> schedules.Schedule:
    return schedules.parse("cron", line, zone, ANCHOR)


def first(schedule: schedules.Schedule, after: datetime.datetime, count: int) -> list[datetime.datetime]:
    return [due.at for due in islice(schedule.after(after), count)]


# The table: line, zone, after, expected moments (in the zone), and the line in croniter's words where it has them.

AWKWARD = [
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00Z", ["2028-02-29T00:00Z", "2032-02-29T00:00Z"], "0 0 29 2 *"),
    ("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", ["2104-02-29T00:00Z"], "0 0 29 2 *"),  # 2100 is no leap year
    ("0 12 L * *", "UTC", "2028-01-31T12:00Z", ["2028-02-29T12:00Z", "2028-03-31T12:00Z"], "0 12 L * *"),
    ("0 12 L 2 *", "UTC", "2026-01-01T00:00Z", ["2026-02-28T12:00Z", "2027-02-28T12:00Z", "2028-02-29T12:00Z"], ""),
    ("0 0 LW * *", "UTC", "2026-05-01T00:00Z", ["2026-05-29T00:00Z", "2026-06-30T00:00Z"], ""),  # 31 May is a Sunday
    ("0 0 31 * *", "UTC", "2026-01-31T00:00Z", ["2026-03-31T00:00Z", "2026-05-31T00:00Z"], "0 0 31 * *"),
    ("0 0 * * MON#1", "UTC", "2026-01-01T00:00Z", ["2026-01-05T00:00Z", "2026-02-02T00:00Z"], "0 0 * * MON#1"),
    ("0 0 * * 5#5", "UTC", "2026-01-01T00:00Z", ["2026-01-30T00:00Z", "2026-05-29T00:00Z"], "0 0 * * 5#5"),
    ("0 0 * * 5L", "UTC", "2026-01-01T00:00Z", ["2026-01-30T00:00Z", "2026-02-27T00:00Z"], "0 0 * * L5"),
    ("0 0 * 2 MON#5", "UTC", "2026-01-01T00:00Z", ["2044-02-29T00:00Z"], "0 0 * 2 MON#5"),
    ("0 0 13 * FRI", "UTC", "2026-02-09T00:00Z", ["2026-02-13T00:00Z", "2026-02-20T00:00Z"], "0 0 13 * FRI"),
    ("0 0 */2 * FRI", "UTC", "2026-02-01T00:00Z", ["2026-02-13T00:00Z", "2026-02-27T00:00Z"], ""),  # a star: both
    ("0 0 * * 7", "UTC", "2026-01-01T00:00Z", ["2026-01-04T00:00Z"], "0 0 * * 0"),
    ("0 0 * * 5-7", "UTC", "2026-01-01T00:00Z", ["2026-01-02T00:00Z", "2026-01-03T00:00Z", "2026-01-04T00:00Z"], ""),
    ("*/25 * * * *", "UTC", "2026-01-01T00:26Z", ["2026-01-01T00:50Z", "2026-01-01T01:00Z"], "*/25 * * * *"),
    ("59 23 31 DEC *", "UTC", "2026-12-31T23:59Z", ["2027-12-31T23:59Z"], "59 23 31 12 *"),
    ("@daily", "UTC", "2026-01-01T00:00:30Z", ["2026-01-02T00:00Z"], "0 0 * * *"),
    ("@yearly", "Pacific/Kiritimati", "2026-01-01T00:00Z", ["2027-01-01T00:00+14:00"], ""),
    # Half past two, where the clocks go forward at two: the first moment that exists; and only that day.
    ("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00Z", ["2027-03-28T03:00+02:00", "2027-03-29T02:30+02:00"], ""),
    ("30 2 * * *", "America/New_York", "2027-03-13T12:00Z", ["2027-03-14T03:00-04:00", "2027-03-15T02:30-04:00"], ""),
    # Several times in the hour that is not there, and one right behind it: once.
    ("0,30 2,3 * * *", "Europe/Berlin", "2027-03-28T00:59Z", ["2027-03-28T03:00+02:00", "2027-03-28T03:30+02:00"], ""),
    ("*/30 2 * * *", "Europe/Berlin", "2027-03-27T12:00Z", ["2027-03-29T02:00+02:00"], ""),
    # Where they go back: the first of the two, and only it …
    ("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00Z", ["2027-10-31T02:30+02:00", "2027-11-01T02:30+01:00"], ""),
    ("30 1 * * *", "America/New_York", "2027-11-07T05:45Z", ["2027-11-08T01:30-05:00"], ""),  # from inside the second
    # … but what goes by the clock, twice.
    ("30 * * * *", "Europe/Berlin", "2027-10-31T00:00Z", ["2027-10-31T02:30+02:00", "2027-10-31T02:30+01:00"], ""),
    ("@daily", "Africa/Cairo", "2027-04-29T00:00Z", ["2027-04-30T01:00+03:00", "2027-05-01T00:00+03:00"], ""),
    ("0 0 * * *", "America/Havana", "2027-03-13T12:00Z", ["2027-03-14T01:00-04:00"], ""),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", ["2026-10-04T02:30+11:00"], ""),  # half an hour
    ("*/9 3 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", ["2026-10-04T03:00+11:00"], ""),
    # Zones that changed their rules: Mexico gave summer time up in 2022, Jordan stayed in it, Samoa skipped a day.
    ("0 9 * * *", "America/Mexico_City", "2027-04-04T00:00Z", ["2027-04-04T09:00-06:00", "2027-04-05T09:00-06:00"], ""),
    ("0 9 * * *", "Asia/Amman", "2027-01-10T00:00Z", ["2027-01-10T09:00+03:00"], ""),
    ("0 9 * * *", "Pacific/Apia", "2011-12-29T20:00-10:00", ["2011-12-31T00:00+14:00", "2011-12-31T09:00+14:00"], ""),
    # Ramadan in Morocco: an hour back in February, forward again in March.
    ("30 2 * * *", "Africa/Casablanca", "2027-02-06T12:00Z", ["2027-02-07T02:30+01:00", "2027-02-08T02:30+00:00"], ""),
]  # fmt: skip


@pytest.mark.parametrize(("line", "zone", "after", "expected", "theirs"), AWKWARD)
def test_awkward_lines_name_these_moments(line, zone, after, expected, theirs):
    moments = first(cron(line, zone), moment(after), len(expected))
    assert [at.astimezone(zoneinfo.ZoneInfo(zone)).isoformat() for at in moments] == [
        moment(text).astimezone(zoneinfo.ZoneInfo(zone)).isoformat() for text in expected
    ]
    if theirs:
        other = croniter(theirs, moment(after), max_years_between_matches=50)
        assert [other.get_next(datetime.datetime) for _ in expected] == moments


def test_a_moment_says_why_it_is_where_it_is():
    berlin = "Europe/Berlin"
    assert next(cron("30 2 * * *", berlin).after(moment("2027-03-27T12:00Z"))).note == Note.MOVED
    assert next(cron("30 2 * * *", berlin).after(moment("2027-10-30T12:00Z"))).note == Note.FIRST_OF_TWO
    assert next(cron("*/30 2 * * *", berlin).after(moment("2027-10-31T00:30Z"))).note == Note.SECOND_OF_TWO
    assert next(cron("30 2 * * *", berlin).after(moment("2027-06-01T12:00Z"))).note == Note.NORMAL


# All zones, ten years


@pytest.fixture(scope="module")
def zones() -> dict[tuple, zoneinfo.ZoneInfo]:
    """All zones, by how their clocks change in these ten years: many names are one zone."""
    by_changes: dict[tuple, zoneinfo.ZoneInfo] = {}
    for name in sorted(schedules.zone_names()):
        zone = zoneinfo.ZoneInfo(name)
        by_changes.setdefault(tuple(changes_of(zone)), zone)
    return by_changes


def changes_of(zone: zoneinfo.ZoneInfo):
    """(a minute before the change or less, offset before, offset after). No zone changes its clocks twice in a week."""
    at, offset = TEN_YEARS[0], TEN_YEARS[0].astimezone(zone).utcoffset()
    yield at, offset, offset

    def is_over(minutes: int) -> bool:
        return (at + (minutes + 1) * reference_cron.MINUTE).astimezone(zone).utcoffset() != offset

    while at < TEN_YEARS[1]:
        after = (at + WEEK).astimezone(zone).utcoffset()
        if after != offset:
            minutes = bisect.bisect(range(WEEK // reference_cron.MINUTE), 0, key=is_over)
            yield at + minutes * reference_cron.MINUTE, offset, after
        at, offset = at + WEEK, after


def kinds_of(changes: tuple) -> list[tuple]:
    """Changes at one hour of one weekday by one jump are of a kind: one of each, or all in ALL_CLOCK_CHANGES=1."""
    if "ALL_CLOCK_CHANGES" in os.environ:
        return list(changes[1:])
    kinds = {(f"{before + early:%a %H:%M}", early, late): (before, early, late) for before, early, late in changes[1:]}
    return list(kinds.values())


@functools.cache
def clock_of(zone: zoneinfo.ZoneInfo, start: datetime.datetime, end: datetime.datetime) -> array:
    """What the zone's clocks show: the same for each line."""
    return array("q", reference_cron.minutes(zone, start, end))


LINES = [
    "30 2 * * *",
    "0 0 * * *",
    "5,20,35,50 0-4,22,23 * * *",
    "0 0-23 * * *",
    "0 1 * * 0",
    "*/15 * * * *",
    "30 * * * *",
    "*/10 0,1,2,3 * * *",
    "*/7 1-23/2 * * 0,6",
    "*/10 1 * * 0",  # the clocks of some zones go forward at midnight
]


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_every_kind_of_change_of_the_clocks_in_ten_years_goes_as_on_debian(zones, line):
    compared = 0
    schedule = reference_cron.Line(line)
    for changes, zone in zones.items():
        ours = cron(line, zone.key)
        for before, early, late in kinds_of(changes):
            if abs(late - early) >= 3 * HOUR:
                continue  # Debian gives up there
            start, end = before - 5 * HOUR, before + 5 * HOUR
            shown = clock_of(zone, start, end)
            theirs = [start + n * reference_cron.MINUTE for n in reference_cron.run(schedule, shown)]
            last = end - reference_cron.MINUTE
            assert [due.at for due in schedules.due_between(ours, start + reference_cron.MINUTE, last)] == theirs, zone
            compared += len(theirs)
    assert compared > 40


@pytest.mark.slow
@pytest.mark.parametrize("line", ["30 2 * * *", "0 0 * * *"])
def test_a_time_of_the_day_is_due_once_on_each_day_around_every_change(zones, line):
    for changes, zone in zones.items():
        schedule = cron(line, zone.key)
        for before, _, _ in changes:
            due = schedules.due_between(schedule, before - 3 * DAY, before + 3 * DAY)
            days = [each.at.astimezone(zone).date() for each in due]
            assert len(days) >= 5, f"{zone}: {days}"
            for day, following in pairwise(days):
                assert following - day == DAY, f"{zone}: {day} is followed by {following}"


# Properties


def anywhere() -> st.SearchStrategy[datetime.datetime]:
    return st.integers(0, 9 * 366 * 86_400_000).map(lambda ms: TEN_YEARS[0] + datetime.timedelta(milliseconds=ms))


@settings(max_examples=150, deadline=None)
@given(
    line=st.sampled_from([*LINES, "0 0 L * *", "13 4 29 2 *", "*/20 8-17 * JAN,JUL MON-FRI"]),
    zone=st.sampled_from(sorted(schedules.zone_names())),
    after=anywhere(),
)
def test_a_walk_restarted_at_each_moment_yields_the_same(line, zone, after):
    schedule = cron(line, zone)
    moments = first(schedule, after, 12)
    assert all(before < later for before, later in pairwise([after, *moments]))
    one_by_one, at = [], after
    for _ in range(12):
        at = next(schedule.after(at)).at
        one_by_one.append(at)
    assert one_by_one == moments


@given(seconds=st.integers(1, 10_000_000), after=anywhere())
def test_an_interval_never_drifts_from_its_anchor(seconds, after):
    moments = first(schedules.parse("interval", str(seconds), "UTC", ANCHOR), after, 3)
    assert moments[0] > max(after, ANCHOR)
    assert all((at - ANCHOR).total_seconds() % seconds == 0 for at in moments)
    assert moments[0] - max(after, ANCHOR) <= datetime.timedelta(seconds=seconds)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(minutes=st.integers(0, 40_000), most=st.integers(1, 50), after=anywhere())
def test_the_newest_are_the_end_of_them_all(minutes, most, after):
    schedule = cron("*/7 * * * *", "America/St_Johns")
    until = after + minutes * reference_cron.MINUTE
    everything = [due.at for due in schedules.due_between(schedule, after, until)]
    assert [due.at for due in schedules.newest(schedule, after, until, most)] == everything[-most:]
    assert schedules.count(schedule, after, until, 10_000) == len(everything)


def test_counting_an_interval_needs_no_counting():
    schedule = schedules.parse("interval", "1", "UTC", ANCHOR)
    assert schedules.count(schedule, ANCHOR, ANCHOR + 3650 * DAY, 1) == 3650 * 86_400


# One moment


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-12-01T09:00:00+01:00", "UTC", "2026-12-01T08:00Z"),
        ("2026-12-01T09:00", "Europe/Berlin", "2026-12-01T08:00Z"),
        ("2026-12-01 09:00:00Z", "Asia/Tokyo", "2026-12-01T09:00Z"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30Z"),  # comes twice: the first
    ],
)
def test_once_is_a_moment_with_a_zone(text, zone, expected):
    schedule = schedules.parse("once", text, zone, ANCHOR)
    assert first(schedule, ANCHOR, 5) == [moment(expected)]
    assert first(schedule, moment(expected), 1) == []


# What is wrong


@pytest.mark.parametrize(
    ("kind", "value", "field", "says"),
    [
        ("cron", "61 * * * *", "schedule_value", "minute '61'"),
        ("cron", "* 24 * * *", "schedule_value", "hour '24'"),
        ("cron", "* * 0 * *", "schedule_value", "day of month '0'"),
        ("cron", "* * * FOO *", "schedule_value", "month 'FOO'"),
        ("cron", "* * * * MON#6", "schedule_value", "day of week 'MON#6'"),
        ("cron", "5-1 * * * *", "schedule_value", "minute '5-1'"),
        ("cron", "*/0 * * * *", "schedule_value", "minute '*/0'"),
        ("cron", "0 0 30 2 *", "schedule_value", "a day that the months have"),
        ("cron", "0 0 31 4,6 *", "schedule_value", "a day that the months have"),
        ("cron", "* * */31 2 5L", "schedule_value", "never due"),
        ("cron", "0 0 * *", "schedule_value", "4 fields"),
        ("cron", "0 0 0 * * *", "schedule_value", "6 fields"),
        ("cron", "@reboot", "schedule_value", "@daily"),
        ("cron", "", "schedule_value", "1 to 200"),
        ("cron", "1" * 5000 + " * * * *", "schedule_value", "1 to 200"),
        ("interval", "0", "schedule_value", "from 1 to"),
        ("interval", "0.5", "schedule_value", "from 1 to"),
        ("interval", "-5", "schedule_value", "from 1 to"),
        ("interval", "٣", "schedule_value", "from 1 to"),
        ("interval", "9" * 12, "schedule_value", "from 1 to"),
        ("once", "tomorrow", "schedule_value", "2027-03-01T09:00:00+01:00"),
        ("once", "2027-03-28", "schedule_value", "no time of day"),
        ("once", "2027-02-29T09:00", "schedule_value", "day is out of range"),
        ("once", "2016-12-31T23:59:60Z", "schedule_value", "second must be in 0..59"),
        ("once", "9999-12-31T23:59:59-12:00", "schedule_value", "out of range"),
        ("once", "2027-03-28T02:30:00", "schedule_value", "does not exist in Europe/Berlin"),
        ("weekly", "1", "schedule_type", "'cron', 'interval', 'once'"),
    ],
)
def test_an_invalid_schedule_says_why(kind, value, field, says):
    with pytest.raises(BadSchedule) as raised:
        schedules.parse(kind, value, "Europe/Berlin", ANCHOR)
    assert raised.value.field == field
    assert says in str(raised.value)


@pytest.mark.parametrize("name", ["Europe/Berln", "", "../../etc/passwd", "/etc/localtime", "localtime", "x" * 5000])
def test_an_unknown_zone_says_so(name):
    with pytest.raises(BadSchedule, match="is not an IANA time zone") as raised:
        schedules.parse("interval", "60", name, ANCHOR)
    assert raised.value.field == "timezone"
    assert len(str(raised.value)) < 200


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789*/,-#LWMONFRI@ abc", max_size=20), st.sampled_from(list(schedules.Kind)))
def test_any_text_is_a_schedule_or_gets_a_sentence(value, kind):
    try:
        schedule = schedules.parse(kind, value, "Europe/Berlin", ANCHOR)
    except BadSchedule as error:
        assert str(error).endswith(".")
    else:
        first(schedule, ANCHOR, 2)


def test_seeded_lines_agree_with_a_second_library():
    """Five hundred random lines, on a clock that nobody turns."""
    dice = random.Random(7)
    for _ in range(500):
        line = " ".join(
            [
                dice.choice(["*", "*/7", "0", "13,44", "5-50/9"]),
                dice.choice(["*", "*/5", "0", "9", "8-17"]),
                dice.choice(["*", "1", "15,31", "10-20/3"]),
                dice.choice(["*", "2", "1,7", "*/4"]),
                dice.choice(["*", "1", "1-5", "6,0"]),
            ]
        )
        after = TEN_YEARS[0] + datetime.timedelta(minutes=dice.randrange(5_000_000))
        other = croniter(line, after, max_years_between_matches=50)
        assert first(cron(line), after, 5) == [other.get_next(datetime.datetime) for _ in range(5)], line
