"""The windows in which the server counts: a test waits for the next one if this one is nearly over."""

import time


def within_a_minute() -> None:
    """Return when the minute has at least 20 seconds left, so that what the server counts counts together."""
    while time.time() % 60 > 40:
        time.sleep(0.1)


def within_a_quarter_of_an_hour() -> None:
    """Return when the quarter has at least 30 seconds left."""
    while time.time() % 900 > 870:
        time.sleep(0.1)
