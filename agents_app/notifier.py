"""Notifies another part of this process about a change, after the change is committed."""

import asyncio
import contextlib
import contextvars
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

    @contextlib.contextmanager
    def listen_with(self, event: asyncio.Event) -> Iterator[None]:
        """Have `event` of the running event loop set inside the block, whichever thread makes the change."""
        loop = asyncio.get_running_loop()

        def set_soon() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set, context=contextvars.Context())

        with self.listen(set_soon):
            yield

    def notify_on_commit(self) -> None:
        """Call the listener once the caller's transaction is committed."""
        transaction.on_commit(self.notify)

    def notify(self) -> None:
        """Call the listener now."""
        if self._listener is not None:
            self._listener()


# A task was changed, so the scheduler of this process looks at once. Other processes look every second.
task_changes = Notifier()

# A token, a session or a user was changed, so this process looks at once whose sockets and streams end. Others look
# every other second.
access_changes = Notifier()
