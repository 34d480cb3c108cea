"""`manage.py` by a clock of the test's own, for schedules and counters: a file says how many seconds it is ahead.

The product has no hook for this: `agents_app.clock.now` is replaced before the server starts.
"""

import datetime
import os
import sys
from pathlib import Path

FILE = "CLOCK_FILE"


def ahead(file: Path) -> datetime.timedelta:
    """How far this clock is ahead of the real one, or behind it."""
    try:
        return datetime.timedelta(seconds=float(file.read_text()))
    except FileNotFoundError:
        return datetime.timedelta()


def set_up() -> None:
    """Make Django ready, with that clock in it."""
    import django

    # The event loop must be daphne's before anything else asks for one.
    import agents_app.server.daphne.server  # noqa: F401

    django.setup()
    from agents_app import clock

    file, real_now = Path(os.environ[FILE]), clock.now
    clock.now = lambda: real_now() + ahead(file)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
    set_up()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
