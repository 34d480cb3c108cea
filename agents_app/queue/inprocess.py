"""The embedded queue: wakes the worker in this process after the transaction that wrote the run.

The rows are the queue. A wake-up that gets lost (a process without a worker) costs the worker's next poll.
"""

import asyncio
import contextvars
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction

from agents_app.models import Run
from agents_app.models.runs import NEXT_OF_SESSION
from agents_app.queue.protocols import Receiver


@dataclass(frozen=True, slots=True)
class _Registration:
    receiver: Receiver
    loop: asyncio.AbstractEventLoop


class InProcessQueue:
    """See `protocols.Queue`."""

    def __init__(self) -> None:
        self._registration: _Registration | None = None
        self._draining = False

    def register(self, receiver: Receiver | None) -> None:
        self._registration = _Registration(receiver, asyncio.get_running_loop()) if receiver else None

    def enqueue_next(self, session_id: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(NEXT_OF_SESSION, {"session": session_id})
            head = cursor.fetchone()
        if head is not None and head[1] == Run.Status.QUEUED:
            transaction.on_commit(lambda: self._call(lambda receiver: receiver.wake()))

    def fill_places(self) -> None:
        transaction.on_commit(lambda: self._call(lambda receiver: receiver.wake()))

    def prefer(self, run_ids: list[uuid.UUID]) -> list[uuid.UUID]:
        return run_ids  # it chooses the most urgent ones itself

    def cancel(self, run_id: uuid.UUID) -> None:
        transaction.on_commit(lambda: self._call(lambda receiver: receiver.abort(run_id)))

    def workers_alive(self) -> int:
        return 0 if self._alive() is None else 1

    def set_draining(self) -> None:
        self._draining = True

    def is_draining(self) -> bool:
        return self._draining or (self._registration is not None and self._registration.receiver.draining)

    def _alive(self) -> _Registration | None:
        registration = self._registration
        return None if registration is None or registration.loop.is_closed() else registration

    def _call(self, action: Callable[[Receiver], None]) -> None:
        """Call the worker on its own event loop: the caller may be in a thread."""
        if registration := self._alive():
            registration.loop.call_soon_threadsafe(action, registration.receiver, context=contextvars.Context())
