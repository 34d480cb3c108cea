"""When something is due: cron lines, intervals and single moments. Pure: no database, no clock."""

from agents_app.schedules.schedule import (
    LONGEST_VALUE,
    BadSchedule,
    Cron,
    Kind,
    Note,
    Schedule,
    count,
    due_between,
    newest,
    parse,
    read_zone,
    zone_names,
)

__all__ = [
    "LONGEST_VALUE",
    "BadSchedule",
    "Cron",
    "Kind",
    "Note",
    "Schedule",
    "count",
    "due_between",
    "newest",
    "parse",
    "read_zone",
    "zone_names",
]
