"""The clock of schedules and counters, and its bell: whoever changes a task rings it for the ticker in this process.

One place, so that a test can set a whole process's clock. Other processes look every second.
"""

import datetime
from collections.abc import Callable
from functools import partial

from django.db import transaction
from django.utils import timezone

_listener: Callable[[], None] | None = None


def now() -> datetime.datetime:
    """This moment."""
    return timezone.now()


def listen(listener: Callable[[], None] | None) -> None:
    """Have `listener` called, from any thread, when the bell rings; None: nobody listens."""
    global _listener
    _listener = listener


def ring_soon() -> None:
    """Ring once the caller's transaction is committed."""
    transaction.on_commit(partial(_ring))


def _ring() -> None:
    if _listener is not None:
        _listener()
