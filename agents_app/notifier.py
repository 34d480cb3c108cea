"""Notifies another part of this process about a change, after the change is committed."""

import contextlib
from collections.abc import Callable, Iterator

from django.db import transaction


class Notifier:
    """At most one listener, called from the thread that made the change."""

    def __init__(self) -> None:
        self._listener: Callable[[], None] | None = None

    @contextlib.contextmanager
    def listen(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have `listener` called inside the block."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def notify_on_commit(self) -> None:
        """Call the listener once the caller's transaction is committed."""
        transaction.on_commit(self._notify)

    def _notify(self) -> None:
        if self._listener is not None:
            self._listener()


# A task was changed, so the scheduler of this process looks at once. Other processes look every second.
task_changes = Notifier()
