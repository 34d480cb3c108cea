"""When something is due: cron lines, intervals and single moments. Pure: no database and no clock."""

from agents_app.schedules.base import EARLIEST, LATEST, BadSchedule, Due, Note, Schedule
from agents_app.schedules.cron import Cron
from agents_app.schedules.queries import count, due_between, newest
from agents_app.schedules.schedule import LONGEST_VALUE, Kind, parse
from agents_app.schedules.zones import read_zone, zone_names

__all__ = [
    "EARLIEST",
    "LATEST",
    "LONGEST_VALUE",
    "BadSchedule",
    "Cron",
    "Due",
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
