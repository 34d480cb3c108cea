"""The clock of schedules and limits, in one place so that a test can set it for a whole process."""

import datetime

from django.utils import timezone


def now() -> datetime.datetime:
    """Return the current time."""
    return timezone.now()
