"""What every kind of schedule has: due moments, their notes, and the error of a bad one."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

# Moments of schedules: every zone can show them, and what is computed from them has a date too.
EARLIEST, LATEST = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (1900, 9900))


class Note(StrEnum):
    """Why a moment is where it is."""

    NORMAL = "normal"
    MOVED = "moved_by_daylight_saving"  # its time of day does not exist on that day
    FIRST_OF_TWO = "first_of_two"  # its time occurs twice on that day, and the second is left out
    SECOND_OF_TWO = "second_of_two"  # the clock was turned back, and the line follows it


@dataclass(frozen=True, slots=True)
class Due:
    """A moment at which a schedule is due, in UTC."""

    at: datetime.datetime
    note: Note = Note.NORMAL


class BadSchedule(ValueError):
    """Not a valid schedule. `field` is `schedule_type`, `schedule_value` or `timezone`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Schedule(Protocol):
    """When something is due."""

    def after(self, moment: datetime.datetime) -> Iterator[Due]:
        """Yield the moments after `moment`, in order; perhaps without end."""
        ...
